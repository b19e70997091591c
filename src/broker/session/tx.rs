//! `tx.*`: publishes and acknowledgements that wait for a commit.

use std::sync::Arc;

use super::{Context, Session, channel::PublishMode};
use crate::broker::{
    channel::ChannelId,
    exception::Exception,
    memory::Memory,
    message::InboundMessage,
    pieces::Ring,
    vhost::{HeldPublish, TransactionCommit},
    wire::method::modes,
};

/// The publishes and settlements that an open transaction holds back.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Ring<HeldPublish>,
    /// The bytes of its publishes together.
    bytes: usize,
}

impl Transaction {
    /// Holds back a publish.
    pub(super) fn hold(
        &mut self,
        mut message: InboundMessage,
        mandatory: bool,
        bytes_max: usize,
        memory: &Arc<Memory>,
    ) -> Result<(), Exception> {
        let bytes = message.detach(memory);
        self.bytes += bytes.max(message.body.len());
        if self.bytes > bytes_max {
            return Err(Exception::precondition(format!(
                "the transaction holds more than {bytes_max} bytes"
            )));
        }
        self.publishes.push_back(HeldPublish {
            message,
            mandatory,
            charge: memory.charge(bytes),
        });
        Ok(())
    }
}

impl Session {
    pub(super) fn commit(
        &mut self,
        number: u16,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let (id, tx) = self.take_transaction(number)?;
        let from = (self.identity.connection, &self.origin);
        let commit = TransactionCommit::new(tx.publishes, id, from);
        context.vhost.commit(commit, context.now);
        let connection = self.identity.connection;
        context.vhost.await_commit(connection, &self.peer, id);
        self.answer_when_done(false, number, &modes::TxCommitOk {}, context);
        Ok(())
    }

    pub(super) fn rollback(
        &mut self,
        number: u16,
        context: &mut Context<'_>,
    ) -> Result<(), Exception> {
        let (id, tx) = self.take_transaction(number)?;
        context.vhost.release(id, context.now);
        self.drop_held(tx, context);
        self.answer_when_done(false, number, &modes::TxRollbackOk {}, context);
        Ok(())
    }

    /// Drops what a transaction holds back.
    pub(super) fn drop_held(&self, tx: Transaction, context: &mut Context<'_>) {
        let connection = self.identity.connection;
        (context.vhost).drop_publishes(connection, tx.publishes, context.now);
    }

    fn take_transaction(&mut self, number: u16) -> Result<(ChannelId, Transaction), Exception> {
        let channel = self.channel(number)?;
        match &mut channel.mode {
            PublishMode::Tx(tx) => Ok((channel.id, std::mem::take(tx))),
            _ => Err(Exception::precondition("channel is not transactional")),
        }
    }
}
