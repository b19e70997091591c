//! `basic.*` but for publishing.

use super::{Context, Session, channel::PublishMode};
use crate::broker::{
    auth::Access,
    exception::Exception,
    vhost::{ConsumeSpec, GetSpec, Qos, REPLY_TO, Settle},
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
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Exception::not_implemented(text));
        }
        let id = self.channel(number)?.id;
        context.vhost.qos(
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
        context: &mut Context<'_>,
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
            context
                .vhost
                .consume_replies(id, &tag, consume.no_ack, secret, nowait)?;
            return Ok(());
        }
        context.vhost.check_consumer_tag(id, &tag)?;
        self.may_queue(Access::Read, &queue)?;
        let spec = ConsumeSpec {
            queue,
            tag,
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            arguments: consume.arguments,
        };
        context
            .vhost
            .consume(id, self.identity.connection, &spec, consume.nowait)?;
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        number: u16,
        cancel: basic::Cancel,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        context.vhost.cancel(id, &cancel.consumer_tag, context.now);
        let cancel_ok = basic::CancelOk {
            consumer_tag: cancel.consumer_tag,
        };
        self.answer_when_done(cancel.nowait, number, &cancel_ok, context);
        Ok(())
    }

    pub(super) fn get(
        &mut self,
        number: u16,
        get: &basic::Get,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let id = self.channel(number)?.id;
        let name = self.queue_name(number, get.queue.clone())?;
        self.may_queue(Access::Read, &name)?;
        let get = GetSpec {
            channel: id,
            connection: self.identity.connection,
            queue: name,
            no_ack: get.no_ack,
        };
        context.vhost.get(get, context.now)
    }

    pub(super) fn ack(
        &mut self,
        number: u16,
        ack: &basic::Ack,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.settle(number, ack.delivery_tag, ack.multiple, Settle::Ack, context)
    }

    pub(super) fn nack(
        &mut self,
        number: u16,
        nack: &basic::Nack,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let how = rejection(nack.requeue);
        self.settle(number, nack.delivery_tag, nack.multiple, how, context)
    }

    pub(super) fn reject(
        &mut self,
        number: u16,
        reject: &basic::Reject,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        self.settle(
            number,
            reject.delivery_tag,
            false,
            rejection(reject.requeue),
            context,
        )
    }

    fn settle(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        how: Settle,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let channel = self.channel(number)?;
        let (vhost, now) = (&mut *context.vhost, context.now);
        let settled = match channel.mode {
            PublishMode::Tx(_) => vhost.reserve(channel.id, tag, multiple, how, now),
            _ => vhost.settle(channel.id, tag, multiple, how, now),
        };
        settled.map_err(|error| unknown_tag(error.tag))
    }

    pub(super) fn recover(
        &mut self,
        number: u16,
        requeue: bool,
        answer: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        if !requeue {
            return Err(Exception::not_implemented("requeue=false"));
        }
        let channel = self.channel(number)?;
        context.vhost.requeue_all(channel.id, context.now);
        self.answer_when_done(!answer, number, &basic::RecoverOk {}, context);
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
