//! Every method to its place.

use super::{
    Phase, Scene, Session,
    channel::{Confirms, Mode, SessionChannel},
    tx::Transaction,
};
use crate::broker::{
    exception::Exception,
    wire::{
        Method, ReplyCode,
        method::{channel as wire_channel, connection, modes},
    },
};

impl Session {
    pub(super) fn on_connection_method(
        &mut self,
        method: &Method,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        match method {
            Method::ConnectionClose(_) => {
                self.end(scene);
                self.answer(0, &connection::CloseOk {});
                self.phase = Phase::Closed;
                Ok(())
            }
            Method::ConnectionCloseOk(_) => {
                self.end(scene);
                self.phase = Phase::Closed;
                Ok(())
            }
            Method::ConnectionUpdateSecret(_) => {
                self.answer(0, &connection::UpdateSecretOk {});
                Ok(())
            }
            _ => Err(Exception::channel_error(
                "unexpected method in connection state running",
            )),
        }
    }

    pub(super) fn on_method(
        &mut self,
        number: u16,
        method: Method,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        match method {
            Method::BasicPublish(publish) => self.begin_publish(number, publish, scene),
            Method::BasicAck(ack) => self.ack(number, &ack, scene),
            Method::BasicNack(nack) => self.nack(number, &nack, scene),
            Method::BasicReject(reject) => self.reject(number, &reject, scene),
            Method::BasicGet(get) => self.get(number, &get, scene),
            Method::BasicConsume(consume) => self.consume(number, consume, scene),
            Method::BasicCancel(cancel) => self.cancel(number, cancel, scene),
            Method::BasicQos(qos) => self.qos(number, &qos, scene),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true, scene),
            Method::BasicRecoverAsync(recover) => {
                self.recover(number, recover.requeue, false, scene)
            }
            Method::QueueDeclare(declare) => self.declare_queue(number, declare, scene),
            Method::QueueBind(bind) => self.bind_queue(number, bind, scene),
            Method::QueueUnbind(unbind) => self.unbind_queue(number, unbind, scene),
            Method::QueuePurge(purge) => self.purge_queue(number, &purge, scene),
            Method::QueueDelete(delete) => self.delete_queue(number, &delete, scene),
            Method::ExchangeDeclare(declare) => self.declare_exchange(number, declare, scene),
            Method::ExchangeDelete(delete) => self.delete_exchange(number, &delete, scene),
            Method::ExchangeBind(bind) => self.bind_exchange(number, bind, scene),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(number, unbind, scene),
            Method::TxSelect(_) => self.select_tx(number),
            Method::TxCommit(_) => self.commit(number, scene),
            Method::TxRollback(_) => self.rollback(number, scene),
            Method::ConfirmSelect(select) => self.select_confirm(number, select.nowait),
            other => self.on_channel_method(number, &other, scene),
        }
    }

    fn on_channel_method(
        &mut self,
        number: u16,
        method: &Method,
        scene: &mut Scene<'_>,
    ) -> Result<(), Exception> {
        match method {
            Method::ChannelOpen(_) => Err(Exception::channel_error("second 'channel.open' seen")),
            Method::ChannelFlow(flow) if flow.active => {
                self.answer(number, &wire_channel::FlowOk { active: true });
                Ok(())
            }
            Method::ChannelFlow(_) => Err(Exception::not_implemented("active=false")),
            Method::ChannelClose(_) => {
                self.end_batch();
                if let Some(channel) = self.channels.remove(&number) {
                    scene.vhost.close_channel(channel.id, scene.now);
                }
                self.answer(number, &wire_channel::CloseOk {});
                Ok(())
            }
            // An answer to something that we did not ask, or that needs no answer.
            Method::ChannelFlowOk(_) | Method::ChannelCloseOk(_) | Method::BasicCancelOk(_) => {
                Ok(())
            }
            Method::AccessRequest(_) => {
                self.answer(number, &modes::AccessRequestOk { ticket: 1 });
                Ok(())
            }
            _ => Err(Exception::new(
                ReplyCode::CommandInvalid,
                "unimplemented method",
            )),
        }
    }

    fn select_confirm(&mut self, number: u16, nowait: bool) -> Result<(), Exception> {
        let channel = self.channel(number)?;
        match channel.mode {
            Mode::Confirm(_) => {}
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
            Mode::Tx(_) => {
                return Err(Exception::precondition(
                    "cannot switch from tx to confirm mode",
                ));
            }
        }
        self.answer_unless(nowait, number, &modes::ConfirmSelectOk {});
        Ok(())
    }

    fn select_tx(&mut self, number: u16) -> Result<(), Exception> {
        let channel = self.channel(number)?;
        match channel.mode {
            Mode::Tx(_) => {}
            Mode::Plain => channel.mode = Mode::Tx(Transaction::default()),
            Mode::Confirm(_) => {
                return Err(Exception::precondition(
                    "cannot switch from confirm to tx mode",
                ));
            }
        }
        self.answer(number, &modes::TxSelectOk {});
        Ok(())
    }

    pub(super) fn channel(&mut self, number: u16) -> Result<&mut SessionChannel, Exception> {
        self.channels
            .get_mut(&number)
            .ok_or_else(|| Exception::channel_error("expected 'channel.open'"))
    }
}
