//! `basic.*` but for publishing.

use super::{Scene, Session, channel::Mode};
use crate::broker::{
    auth::Access,
    exception::Exception,
    vhost::{ConsumeSpec, Qos, REPLY_TO, Settle},
    wire::method::basic,
};

fn unknown_tag(tag: u64) -> Exception {
    Exception::precondition(format!("unknown delivery tag {tag}"))
}

impl Session {
    pub(super) fn qos(
        &mut self,
        number: u16,
        qos: &basic::Qos,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Exception::not_implemented(text));
        }
        let id = self.channel(number)?.id;
        scene.vhost.qos(
            id,
            Qos {
                count: qos.prefetch_count,
                global: qos.global,
            },
        );
        self.answer(number, &basic::QosOk {});
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        number: u16,
        consume: basic::Consume,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        let tag = consume.consumer_tag;
        let queue = self.queue_name(number, consume.queue)?;
        if queue == REPLY_TO {
            let mut secret = [0; 16];
            if getrandom::fill(&mut secret).is_err() {
                return Err(Exception::new(
                    crate::broker::wire::ReplyCode::InternalError,
                    "no randomness for the name of a reply consumer",
                ));
            }
            let secret = u128::from_ne_bytes(secret);
            let nowait = consume.nowait;
            scene
                .vhost
                .consume_replies(id, &tag, consume.no_ack, secret, nowait)?;
            return Ok(());
        }
        scene.vhost.check_consumer_tag(id, &tag)?;
        self.may_queue(Access::Read, &queue)?;
        let spec = ConsumeSpec {
            queue,
            tag,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            arguments: consume.arguments,
        };
        scene
            .vhost
            .consume(id, self.identity.connection, &spec, consume.nowait)?;
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        number: u16,
        cancel: basic::Cancel,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        scene.vhost.cancel(id, &cancel.consumer_tag, scene.now);
        let cancel_ok = basic::CancelOk {
            consumer_tag: cancel.consumer_tag,
        };
        self.answer_unless(cancel.nowait, number, &cancel_ok);
        Ok(())
    }

    pub(super) fn get(
        &mut self,
        number: u16,
        get: &basic::Get,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        let name = self.queue_name(number, get.queue.clone())?;
        self.may_queue(Access::Read, &name)?;
        let connection = self.identity.connection;
        if !scene
            .vhost
            .get(id, connection, &name, get.no_ack, scene.now)?
        {
            self.answer(number, &basic::GetEmpty {});
        }
        Ok(())
    }

    pub(super) fn ack(
        &mut self,
        number: u16,
        ack: &basic::Ack,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        self.settle(number, ack.delivery_tag, ack.multiple, Settle::Ack, scene)
    }

    pub(super) fn nack(
        &mut self,
        number: u16,
        nack: &basic::Nack,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let how = rejection(nack.requeue);
        self.settle(number, nack.delivery_tag, nack.multiple, how, scene)
    }

    pub(super) fn reject(
        &mut self,
        number: u16,
        reject: &basic::Reject,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        self.settle(
            number,
            reject.delivery_tag,
            false,
            rejection(reject.requeue),
            scene,
        )
    }

    fn settle(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        how: Settle,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        let channel = self.channel(number)?;
        let id = channel.id;
        if let Mode::Tx(tx) = &mut channel.mode {
            let reserved = tx.reserve(how, |tags| scene.vhost.reserve(id, tag, multiple, tags));
            return reserved.map_err(|error| unknown_tag(error.tag));
        }
        let settled = scene.vhost.settle(id, tag, multiple, how, scene.now);
        settled.map_err(|error| unknown_tag(error.tag))
    }

    pub(super) fn recover(
        &mut self,
        number: u16,
        requeue: bool,
        answer: bool,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        if !requeue {
            return Err(Exception::not_implemented("requeue=false"));
        }
        let channel = self.channel(number)?;
        match channel.mode {
            Mode::Tx(_) => scene.vhost.requeue_unreserved(channel.id, scene.now),
            _ => scene.vhost.requeue_all(channel.id, scene.now),
        }
        self.answer_unless(!answer, number, &basic::RecoverOk {});
        Ok(())
    }
}

fn rejection(requeue: bool) -> Settle {
    if requeue {
        Settle::Requeue
    } else {
        Settle::Reject
    }
}
