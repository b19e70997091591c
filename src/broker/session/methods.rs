//! Dispatches methods to their handlers.

use super::{
    Context, Session, SessionPhase,
    channel::{Confirms, PublishMode, SessionChannel},
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
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        match method {
            Method::ConnectionClose(_) => {
                self.end(context);
                self.answer_when_done(false, 0, &connection::CloseOk {}, context);
                self.phase = SessionPhase::Closed;
                Ok(())
            }
            Method::ConnectionCloseOk(_) => {
                self.end(context);
                self.phase = SessionPhase::Closed;
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
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        match method {
            Method::BasicPublish(publish) => self.begin_publish(number, publish, context),
            Method::BasicAck(ack) => self.ack(number, &ack, context),
            Method::BasicNack(nack) => self.nack(number, &nack, context),
            Method::BasicReject(reject) => self.reject(number, &reject, context),
            Method::BasicGet(get) => self.get(number, &get, context),
            Method::BasicConsume(consume) => self.consume(number, consume, context),
            Method::BasicCancel(cancel) => self.cancel(number, cancel, context),
            Method::BasicQos(qos) => self.qos(number, &qos, context),
            Method::BasicRecover(recover) => self.recover(number, recover.requeue, true, context),
            Method::BasicRecoverAsync(recover) => {
                self.recover(number, recover.requeue, false, context)
            }
            Method::QueueDeclare(declare) => self.declare_queue(number, declare, context),
            Method::QueueBind(bind) => self.bind_queue(number, bind, context),
            Method::QueueUnbind(unbind) => self.unbind_queue(number, unbind, context),
            Method::QueuePurge(purge) => self.purge_queue(number, &purge, context),
            Method::QueueDelete(delete) => self.delete_queue(number, &delete, context),
            Method::ExchangeDeclare(declare) => self.declare_exchange(number, declare, context),
            Method::ExchangeDelete(delete) => self.delete_exchange(number, &delete, context),
            Method::ExchangeBind(bind) => self.bind_exchange(number, bind, context),
            Method::ExchangeUnbind(unbind) => self.unbind_exchange(number, unbind, context),
            Method::TxSelect(_) => self.select_tx(number),
            Method::TxCommit(_) => self.commit(number, context),
            Method::TxRollback(_) => self.rollback(number, context),
            Method::ConfirmSelect(select) => self.select_confirm(number, select.nowait),
            other => self.on_channel_method(number, &other, context),
        }
    }

    fn on_channel_method(
        &mut self,
        number: u16,
        method: &Method,
        context: &mut Context<'_>,
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
                    self.close_channel(*channel, context);
                }
                self.answer_when_done(false, number, &wire_channel::CloseOk {}, context);
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
            PublishMode::Confirm(_) => {}
            PublishMode::Plain => channel.mode = PublishMode::Confirm(Confirms::default()),
            PublishMode::Tx(_) => {
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
            PublishMode::Tx(_) => {}
            PublishMode::Plain => channel.mode = PublishMode::Tx(Transaction::default()),
            PublishMode::Confirm(_) => {
                return Err(Exception::precondition(
                    "cannot switch from confirm to tx mode",
                ));
            }
        }
        self.answer(number, &modes::TxSelectOk {});
        Ok(())
    }

    pub(super) fn channel(&mut self, number: u16) -> Result<&mut SessionChannel, Exception> {
        let channel = self.channels.get_mut(&number);
        channel
            .map(Box::as_mut)
            .ok_or_else(|| Exception::channel_error("expected 'channel.open'"))
    }
}
