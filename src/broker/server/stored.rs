//! What is durable: put back at the start, committed by a thread while the broker runs.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::{Broker, Shared, clock::VhostCell};
use crate::broker::{
    durable::{
        BindingRow, ExchangeRow, QueueRow, TopologyFault, TopologyJournal, TopologyStore,
        TopologyTable,
    },
    exception::Exception,
    vhost::RestoredTopology,
    wire::ShortStr,
};

/// The thread that commits changes of the topology.
#[derive(Debug)]
pub(super) struct TopologyThread {
    journal: Arc<TopologyJournal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl TopologyThread {
    fn start(journal: Arc<TopologyJournal>, shared: Weak<Shared>) -> Result<Self, TopologyFault> {
        let committing = Arc::clone(&journal);
        let run = move || {
            committing.run(|| {
                if let Some(shared) = shared.upgrade() {
                    shared.on_progress();
                }
            });
        };
        let thread = thread::Builder::new().name("broker-topology".into());
        let thread = thread.spawn(run);
        let thread = thread.map_err(|error| TopologyFault::Failed(error.to_string().into()))?;
        Ok(Self {
            journal,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits until everything that was changed so far is committed.
    pub(super) async fn until_committed(&self) {
        let journal = Arc::clone(&self.journal);
        blocking(move || journal.wait_until_committed()).await;
    }

    /// Commits what is left, and ends.
    pub(super) async fn close(&self) {
        self.journal.close();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // One that panicked is reported by the panic itself.
            blocking(move || drop(thread.join())).await;
        }
    }
}

impl Drop for TopologyThread {
    fn drop(&mut self) {
        self.journal.close();
    }
}

/// Runs what waits for the disk on a thread for such work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Broker {
    /// Puts back what a store holds, and stores every change from now on.
    pub(super) async fn restore(&self, store: Arc<dyn TopologyStore>) -> Result<(), TopologyFault> {
        let shared = Arc::clone(&self.shared);
        let journal = blocking(move || {
            let journal = TopologyJournal::open(Arc::clone(&store))?;
            Restoring::new(&shared).run(&*store, &journal)?;
            Ok::<_, TopologyFault>(journal)
        });
        let journal = Arc::new(journal.await?);
        for cell in self.shared.vhosts.values() {
            cell.lock().set_topology(Arc::clone(&journal));
        }
        let thread = TopologyThread::start(journal, Arc::downgrade(&self.shared))?;
        // It is set once: a broker is restored before anything else is done with it.
        _ = self.shared.topology.set(thread);
        Ok(())
    }
}

impl Shared {
    fn on_progress(&self) {
        let mut dirty = Vec::new();
        for cell in self.vhosts.values() {
            cell.on_progress(self.now(), &mut dirty);
        }
    }
}

/// A topology that is being put back.
struct Restoring<'a> {
    shared: &'a Shared,
    vhosts: HashMap<ShortStr, (Arc<VhostCell>, RestoredTopology)>,
    exchanges: usize,
    queues: usize,
    bindings: usize,
    /// Bindings whose ends were deleted.
    loose: Vec<u64>,
    /// Rows of vhosts that are not configured now.
    foreign: usize,
}

impl<'a> Restoring<'a> {
    fn new(shared: &'a Shared) -> Self {
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
        }
    }

    fn run(
        mut self,
        store: &dyn TopologyStore,
        journal: &TopologyJournal,
    ) -> Result<(), TopologyFault> {
        store.read(TopologyTable::Exchanges, &mut |number, row| {
            self.exchange(number, ExchangeRow::decode(number, row)?)
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
        let (exchanges, queues, bindings) = (self.exchanges, self.queues, self.bindings);
        tracing::info!(
            "the broker continues with {exchanges} exchanges, {queues} queues and {bindings} bindings"
        );
        if self.foreign > 0 {
            tracing::warn!(
                "{} stored exchanges, queues and bindings are in vhosts that broker.vhosts does not name: they are kept",
                self.foreign
            );
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
            return Ok(());
        };
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

#[cfg(test)]
mod tests;
