//! `tx.*`: publishes and acknowledgements that wait for a commit.

use std::{collections::VecDeque, sync::Arc};

use super::{Scene, Session, channel::Mode};
use crate::broker::{
    exception::Exception,
    memory::Memory,
    message::Draft,
    vhost::{Commit, HeldPublish, Settle, SettleError},
    wire::method::modes,
};

/// What an open transaction holds back.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: VecDeque<HeldPublish>,
    /// The bytes of its publishes together.
    bytes: usize,
    settled: Vec<(u64, Settle)>,
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
        let bytes = draft.detach(memory);
        self.bytes += bytes.max(draft.body.len());
        if self.bytes > bytes_max {
            return Err(Exception::precondition(format!(
                "the transaction holds more than {bytes_max} bytes"
            )));
        }
        self.publishes.push_back(HeldPublish {
            draft,
            mandatory,
            charge: memory.charge(bytes),
        });
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
        let commit = Commit {
            publishes: tx.publishes,
            origin: self.origin.clone(),
        };
        scene.vhost.commit(id, commit, &tx.settled, scene.now);
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
