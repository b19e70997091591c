//! `tx.*`: publishes and acknowledgements that wait for a commit.

use std::sync::Arc;

use super::{Scene, Session, channel::Mode};
use crate::broker::{
    exception::Exception,
    memory::{Account, Charge, Memory},
    message::Draft,
    vhost::{Settle, SettleError},
    wire::method::modes,
};

/// What an open transaction holds back.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: Vec<(Draft, bool)>,
    settled: Vec<(u64, Settle)>,
    charge: Charge,
}

impl Transaction {
    /// Holds back a publish.
    pub(super) fn hold(
        &mut self,
        mut draft: Draft,
        mandatory: bool,
        bytes_max: usize,
        memory: &Arc<Memory>,
    ) -> Result<(), Exception> {
        // What the message costs beyond its body.
        const OVERHEAD: usize = 512;
        let bytes = OVERHEAD + draft.body.len();
        if self.charge.bytes() + bytes > bytes_max {
            return Err(Exception::precondition(format!(
                "the transaction holds more than {bytes_max} bytes"
            )));
        }
        let account = Account::new(Arc::clone(memory), usize::MAX);
        self.charge.add(&account, bytes);
        draft.detach();
        self.publishes.push((draft, mandatory));
        Ok(())
    }

    /// Holds back an acknowledgement; `find` reserves the deliveries it means.
    pub(super) fn reserve(
        &mut self,
        how: Settle,
        find: impl FnOnce(&mut Vec<u64>) -> Result<(), SettleError>,
    ) -> Result<(), SettleError> {
        let mut tags = Vec::new();
        find(&mut tags)?;
        self.settled.extend(tags.into_iter().map(|tag| (tag, how)));
        Ok(())
    }
}

impl Session {
    pub(super) fn commit(&mut self, number: u16, scene: &mut Scene<'_>) -> Result<(), Exception> {
        let (id, tx) = self.take_transaction(number)?;
        for (mut draft, mandatory) in tx.publishes {
            // An exchange that has gone since loses the message, as it does in RabbitMQ.
            if scene.vhost.check_publish(&draft.exchange).is_ok() {
                self.route(number, &mut draft, mandatory, scene)?;
            }
        }
        for how in [Settle::Ack, Settle::Requeue, Settle::Reject] {
            let settled = tx.settled.iter().filter(|(_, other)| *other == how);
            let tags = settled.map(|(tag, _)| *tag).collect();
            scene.vhost.settle_reserved(id, tags, how, scene.now);
        }
        self.answer(number, &modes::TxCommitOk {});
        Ok(())
    }

    pub(super) fn rollback(&mut self, number: u16, scene: &mut Scene<'_>) -> Result<(), Exception> {
        let (id, tx) = self.take_transaction(number)?;
        let tags: Vec<_> = tx.settled.iter().map(|(tag, _)| *tag).collect();
        scene.vhost.release(id, &tags);
        self.answer(number, &modes::TxRollbackOk {});
        Ok(())
    }

    fn take_transaction(
        &mut self,
        number: u16,
    ) -> Result<(crate::broker::channel::ChannelId, Transaction), Exception> {
        let channel = self.channel(number)?;
        match &mut channel.mode {
            Mode::Tx(tx) => Ok((channel.id, std::mem::take(tx))),
            _ => Err(Exception::precondition("channel is not transactional")),
        }
    }
}
