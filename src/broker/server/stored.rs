//! Durable objects and messages: put back at the start, stored by threads while the broker runs.

mod durable_mark;
mod frozen;
mod restoring;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak, atomic::AtomicU64},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::frozen::FrozenMessages;
use self::{durable_mark::DurableMark, restoring::Restoring};
use super::{Broker, Shared};
use crate::{
    broker::{
        durable::{LoadRequests, TopologyFault, TopologyJournal, TopologyStore, load},
        memory::Charge,
        message_log::{
            MessageLog, MessageLogError, MessageLogOptions, MessageLogState, RecoveredMessages,
        },
        vhost::VhostLog,
    },
    disk::blocking,
};

/// Where a broker keeps what is durable.
#[derive(Clone, Debug)]
pub struct DurableStore {
    /// Keeps exchanges, queues and bindings.
    pub topology: Arc<dyn TopologyStore>,
    /// The folder for messages.
    pub messages: PathBuf,
}

/// Why what is durable cannot be put back.
#[derive(Debug, thiserror::Error)]
pub enum StoredFault {
    /// The topology cannot be used.
    #[error("the stored exchanges, queues and bindings cannot be used")]
    Topology(#[from] TopologyFault),
    /// The messages cannot be used.
    #[error("the stored messages cannot be used")]
    Messages(#[from] MessageLogError),
}

/// The parts that store changes while the broker runs.
#[derive(Debug)]
pub(super) struct Stores {
    journal: Arc<TopologyJournal>,
    log: MessageLog,
    loads: Arc<LoadRequests>,
    /// Why messages could not be read back.
    unreadable: watch::Sender<Option<Arc<str>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Counts the index of the log.
    index: Mutex<Charge>,
}

impl Stores {
    /// Counts the index of the log as it is now.
    fn count_index(&self) {
        let bytes = usize::try_from(self.log.index_bytes());
        self.index.lock().set(bytes.unwrap_or(usize::MAX));
    }

    fn start(self, shared: &Arc<Shared>, durable: Arc<AtomicU64>) -> Result<Self, TopologyFault> {
        let (journal, weak) = (Arc::clone(&self.journal), Arc::downgrade(shared));
        let mark = Arc::new(DurableMark::new(Arc::clone(&journal), durable));
        let (of_topology, progressed) = (Arc::clone(&mark), on_progress(Weak::clone(&weak)));
        self.spawn("broker-topology", move || {
            journal.run(|| {
                of_topology.catch_up();
                progressed();
            });
        })?;
        let loading = Loading {
            log: self.log.clone(),
            loads: Arc::clone(&self.loads),
            unreadable: self.unreadable.clone(),
            shared: Weak::clone(&weak),
        };
        self.spawn("broker-loads", move || loading.run())?;
        let progressed = on_progress(weak);
        self.log.on_durable(move |position| {
            if mark.advance(position) {
                progressed();
            }
        });
        Ok(self)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), TopologyFault> {
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|error| TopologyFault::Failed(error.to_string().into()))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Waits until every change of the topology so far is committed.
    pub(super) async fn until_committed(&self) {
        let journal = Arc::clone(&self.journal);
        blocking(move || journal.wait_until_committed()).await;
    }

    /// Whether there is space for messages.
    pub(super) fn disk(&self) -> watch::Receiver<MessageLogState> {
        self.log.state()
    }

    /// Waits until it is unknown what is stored: why.
    pub(super) async fn failed(&self) -> Arc<str> {
        let (mut log, mut unreadable) = (self.log.state(), self.unreadable.subscribe());
        let failed = |state: &MessageLogState| matches!(state, MessageLogState::Failed(_));
        let why = tokio::select! {
            state = log.wait_for(failed) => match state.as_deref() {
                Ok(MessageLogState::Failed(why)) => Some(Arc::clone(why)),
                _ => None,
            },
            why = unreadable.wait_for(Option::is_some) => why.ok().and_then(|why| why.clone()),
        };
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Stores what is left, and ends.
    pub(super) async fn close(&self) {
        let log = self.log.clone();
        if let Err(error) = blocking(move || log.close()).await {
            tracing::error!(%error, "the log of messages was not closed cleanly: {error}");
        }
        self.stop();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // One that panicked is reported by the panic itself.
            blocking(move || drop(thread.join())).await;
        }
    }

    fn stop(&self) {
        self.journal.close();
        self.loads.close();
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The function that is called when something was stored.
fn on_progress(shared: Weak<Shared>) -> impl Fn() + Send + Sync + 'static {
    move || {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        if let Some(stores) = shared.stores.get() {
            stores.count_index();
        }
        let mut dirty = Vec::new();
        for cell in shared.vhosts.values() {
            cell.on_progress(shared.now(), &mut dirty);
        }
    }
}

/// Reads messages back.
struct Loading {
    log: MessageLog,
    loads: Arc<LoadRequests>,
    unreadable: watch::Sender<Option<Arc<str>>>,
    shared: Weak<Shared>,
}

impl Loading {
    fn run(self) {
        while let Some(request) = self.loads.next() {
            let loaded = load(&self.log, &request);
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            match loaded {
                Ok(loaded) => {
                    if let Some(cell) = shared.numbered_vhost(request.vhost) {
                        cell.on_loaded(request.queue, loaded, shared.now());
                    }
                }
                Err(error) => {
                    self.unreadable.send_replace(Some(error.to_string().into()));
                    return;
                }
            }
        }
    }
}

impl Broker {
    /// Puts back what a store holds, and stores every change from now on.
    pub(super) async fn restore(&self, store: DurableStore) -> Result<(), StoredFault> {
        let shared = Arc::clone(&self.shared);
        let stores = blocking(move || restore(&shared, &store)).await?;
        // It is set once: a broker is restored before anything else is done with it.
        _ = self.shared.stores.set(stores);
        Ok(())
    }

    /// Waits until it is unknown what is stored, which ends the broker's use: why. Forever if nothing is stored.
    pub async fn store_failed(&self) -> Arc<str> {
        match self.shared.stores.get() {
            Some(stores) => stores.failed().await,
            None => std::future::pending().await,
        }
    }
}

fn restore(shared: &Arc<Shared>, store: &DurableStore) -> Result<Stores, StoredFault> {
    let journal = TopologyJournal::open(Arc::clone(&store.topology))?;
    let (log, recovered) = open_log(&store.messages)?;
    let (loads, durable) = (Arc::<LoadRequests>::default(), Arc::<AtomicU64>::default());
    for (vhost, cell) in shared.vhosts.values().enumerate() {
        cell.lock().set_log(VhostLog {
            log: log.clone(),
            durable: Arc::clone(&durable),
            loads: Arc::clone(&loads),
            vhost,
        });
    }
    Restoring::new(shared).run(&*store.topology, &journal, &log, recovered)?;
    let journal = Arc::new(journal);
    for cell in shared.vhosts.values() {
        cell.lock().set_topology(Arc::clone(&journal));
    }
    let stores = Stores {
        journal,
        log,
        loads,
        unreadable: watch::Sender::new(None),
        threads: Mutex::default(),
        index: Mutex::new(shared.memory.charge(0)),
    };
    stores.count_index();
    Ok(stores.start(shared, durable)?)
}

fn open_log(folder: &Path) -> Result<(MessageLog, RecoveredMessages), MessageLogError> {
    let (log, recovered) = MessageLog::open(folder, MessageLogOptions::default())?;
    if let Some(dropped) = &recovered.dropped {
        let file = dropped.file.display();
        tracing::warn!(
            store.file = %file,
            "{file} ends with an unfinished write: {} bytes from byte {} on are dropped",
            dropped.bytes,
            dropped.offset
        );
    }
    Ok((log, recovered))
}

#[cfg(test)]
mod tests;
