//! `tx.*`: publishes and acknowledgements that wait for a commit.

use std::{collections::VecDeque, sync::Arc};

use super::{Scene, Session, channel::Mode};
use crate::broker::{
    exception::Exception,
    memory::{Account, Charge, Memory},
    message::Draft,
    vhost::{Commit, Settle, SettleError},
    wire::{ShortStr, method::modes},
};

/// What an open transaction holds back.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    publishes: VecDeque<(Draft, bool)>,
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
        // What the message costs beyond its bytes.
        const OVERHEAD: usize = 512;
        let keys = draft.extra_keys.iter();
        let keys: usize = keys.map(|key| size_of::<ShortStr>() + key.len()).sum();
        let properties = draft.properties.as_bytes().len();
        let bytes = OVERHEAD + draft.body.len() + properties + keys;
        if self.charge.bytes() + bytes > bytes_max {
            return Err(Exception::precondition(format!(
                "the transaction holds more than {bytes_max} bytes"
            )));
        }
        let account = Account::new(Arc::clone(memory), usize::MAX);
        self.charge.add(&account, bytes);
        draft.detach();
        self.publishes.push_back((draft, mandatory));
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
            charge: tx.charge,
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
