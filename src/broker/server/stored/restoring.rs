//! Puts back the objects that an earlier run has stored.

use std::{collections::HashMap, collections::HashSet, sync::Arc};

use super::StoredFault;
use crate::broker::{
    durable::{
        BindingRow, ExchangeRow, QueueRow, TopologyFault, TopologyJournal, TopologyStore,
        TopologyTable,
    },
    exception::Exception,
    message_log::{MessageLog, ReadLimits, RecoveredMessages},
    server::{Shared, clock::VhostCell},
    vhost::RestoredTopology,
    wire::ShortStr,
};

/// A topology that is being put back.
pub(super) struct Restoring<'a> {
    shared: &'a Shared,
    vhosts: HashMap<ShortStr, (Arc<VhostCell>, RestoredTopology)>,
    exchanges: usize,
    queues: usize,
    bindings: usize,
    /// Bindings whose ends were deleted.
    loose: Vec<u64>,
    /// Rows of vhosts that are not configured now.
    foreign: usize,
    /// Queues among them, by number.
    foreign_queues: HashSet<u64>,
    messages: u64,
    /// Messages of queues that have no row and were not deleted.
    orphans: u64,
    /// The number of the newest queue of each vhost and name.
    newest: HashMap<(ShortStr, ShortStr), u64>,
    /// Queues whose names others have since: a crash came while they were deleted.
    replaced: Vec<u64>,
}

impl<'a> Restoring<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let vhosts = shared.vhosts.iter().map(|(name, cell)| {
            let restored = cell.lock().begin_restore();
            (ShortStr::truncated(name), (Arc::clone(cell), restored))
        });
        Self {
            shared,
            vhosts: vhosts.collect(),
            exchanges: 0,
            queues: 0,
            bindings: 0,
            loose: Vec::new(),
            foreign: 0,
            foreign_queues: HashSet::new(),
            messages: 0,
            orphans: 0,
            newest: HashMap::new(),
            replaced: Vec::new(),
        }
    }

    pub(super) fn run(
        mut self,
        store: &dyn TopologyStore,
        journal: &TopologyJournal,
        log: &MessageLog,
        recovered: RecoveredMessages,
    ) -> Result<(), StoredFault> {
        store.read(TopologyTable::Exchanges, &mut |number, row| {
            self.exchange(number, ExchangeRow::decode(number, row)?)
        })?;
        store.read(TopologyTable::Queues, &mut |number, row| {
            let row = QueueRow::decode(number, row)?;
            // Rows come in the order of their numbers.
            self.newest.insert((row.vhost, row.name), number);
            Ok(())
        })?;
        store.read(TopologyTable::Queues, &mut |number, row| {
            self.queue(number, QueueRow::decode(number, row)?)
        })?;
        store.read(TopologyTable::Bindings, &mut |number, row| {
            self.binding(number, BindingRow::decode(number, row)?)
        })?;
        for number in &self.loose {
            journal.delete(TopologyTable::Bindings, *number);
        }
        let mut deleted = HashSet::new();
        store.read(TopologyTable::DeletedQueues, &mut |number, _| {
            deleted.insert(number);
            Ok(())
        })?;
        for number in self.replaced.drain(..) {
            journal.note_deleted(number);
            journal.delete(TopologyTable::Queues, number);
            deleted.insert(number);
        }
        self.messages(log, recovered, &deleted)?;
        for number in deleted {
            // Also where the log knows no message of it.
            journal.forget_deleted(number, log.delete_queue(number));
        }
        let (exchanges, queues, bindings) = (self.exchanges, self.queues, self.bindings);
        tracing::info!(
            "the broker continues with {exchanges} exchanges, {queues} queues, {bindings} bindings and {} messages",
            self.messages
        );
        if self.orphans > 0 {
            tracing::warn!(
                "{} stored messages are of queues that the store does not know: they are kept and not served. \
                 Has the store been damaged? A backup may have the queues",
                self.orphans
            );
        }
        if self.foreign > 0 {
            tracing::warn!(
                "{} stored exchanges, queues and bindings are in vhosts that broker.vhosts does not name: they are kept",
                self.foreign
            );
        }
        Ok(())
    }

    /// Gives each queue its messages.
    fn messages(
        &mut self,
        log: &MessageLog,
        recovered: RecoveredMessages,
        deleted: &HashSet<u64>,
    ) -> Result<(), StoredFault> {
        for of_queue in &recovered.queues {
            let number = of_queue.queue;
            let mut vhosts = self.vhosts.values();
            let found = vhosts.find_map(|(cell, restored)| Some((cell, restored.queue(number)?)));
            let Some((cell, id)) = found else {
                if !self.foreign_queues.contains(&number) && !deleted.contains(&number) {
                    self.orphans += of_queue.messages;
                }
                continue;
            };
            let read = |positions| log.read_from(number, positions, ReadLimits::default());
            let now = self.shared.now();
            cell.lock().restore_messages(id, of_queue, read, now)?;
            self.messages += of_queue.messages;
        }
        Ok(())
    }

    fn exchange(&mut self, number: u64, row: ExchangeRow) -> Result<(), TopologyFault> {
        let Some((cell, restored)) = self.vhosts.get_mut(row.vhost.as_bytes()) else {
            self.foreign += 1;
            return Ok(());
        };
        self.exchanges += 1;
        let put_back = cell.lock().restore_exchange(number, row, restored);
        put_back.map_err(|exception| unusable(&exception))
    }

    fn queue(&mut self, number: u64, row: QueueRow) -> Result<(), TopologyFault> {
        let Some((cell, restored)) = self.vhosts.get_mut(row.vhost.as_bytes()) else {
            self.foreign += 1;
            self.foreign_queues.insert(number);
            return Ok(());
        };
        if self.newest.get(&(row.vhost.clone(), row.name.clone())) != Some(&number) {
            self.replaced.push(number);
            return Ok(());
        }
        self.queues += 1;
        let now = self.shared.now();
        let put_back = cell.lock().restore_queue(number, row, restored, now);
        put_back.map_err(|exception| unusable(&exception))
    }

    fn binding(&mut self, number: u64, row: BindingRow) -> Result<(), TopologyFault> {
        let Some((cell, restored)) = self.vhosts.get(row.vhost.as_bytes()) else {
            self.foreign += 1;
            return Ok(());
        };
        let put_back = cell.lock().restore_binding(number, row, restored);
        match put_back.map_err(|exception| unusable(&exception))? {
            true => self.bindings += 1,
            false => self.loose.push(number),
        }
        Ok(())
    }
}

fn unusable(exception: &Exception) -> TopologyFault {
    TopologyFault::Failed(exception.to_string().into())
}
