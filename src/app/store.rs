//! The store: opened before the rooms that keep something in it, closed after them.

mod full;
mod journal;
mod rows;
mod snapshots;
mod topology;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{runtime::Handle, time::timeout};

use self::journal::StoreJournal;
pub(super) use self::topology::StoreTopology;
pub(super) use self::{rows::Kept, snapshots::snapshots};
use super::AppError;
use crate::{
    broker::Broker,
    config::Config,
    disk::{blocking, repair_modes},
    registry::{Journal, MemoryJournal, Origins, Refusal, Registry, Restored, UnreadableRow},
    store::{Contents, Store, StoreError, SyncMode, Writes},
    tasks::{Stage, StopError, Tasks},
};

/// The folder of the broker's messages in that of the store.
pub(super) const MESSAGES: &str = "messages";

/// How long the store may take to close after the other rooms have used up `stop.grace`.
const CLOSE_MIN: Duration = Duration::from_millis(500);

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreUnusable {
    /// Its files cannot.
    #[error("choose another folder with --set store.path=FOLDER, or none with --set store.path=")]
    Files(#[from] StoreError),
    /// It holds what this version does not understand.
    #[error("the store {path:?} cannot be read")]
    Row {
        /// The folder.
        path: PathBuf,
        /// Which row.
        source: UnreadableRow,
    },
    /// Its first rows were not written.
    #[error("the store {path:?} cannot be written: {detail}")]
    NotWritten {
        /// The folder.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// It failed while the daemon ran, or when it was closed.
    #[error("what the store {path:?} was given last may be lost")]
    Failed {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The messages of the broker could not be written or read back.
    #[error("the stored messages have failed: {why}")]
    Messages {
        /// Why.
        why: Arc<str>,
    },
}

/// The registry and the store, which a start opens before any other room.
#[derive(Debug)]
pub(super) struct Opened {
    /// With what the store holds.
    pub(super) registry: Registry,
    /// None when everything is kept in memory.
    pub(super) store: Option<Store>,
    /// The rows of other rooms from an earlier run. To be dropped when they have read them.
    pub(super) contents: Option<Contents>,
}

/// Opens the store, if there is one, and the registry.
pub(super) async fn begin(config: &Config, tasks: &mut Tasks) -> Result<Opened, StoreUnusable> {
    let store = open(config).await?;
    let events_max = config.registry.log_entries_max.get();
    let (restored, contents) = match store.clone() {
        Some(store) => blocking(move || read(&store, events_max)).await?,
        None => (None, None),
    };
    let registry = open_registry(config, store.as_ref(), restored).await?;
    if let Some(store) = &store {
        start(store, &registry, tasks).await?;
    }
    Ok(Opened {
        registry,
        store,
        contents,
    })
}

/// Makes everything durable in the time that is `left` of the grace period, and names the cause when a failed write has
/// `stopped` the daemon. To be called when every room that writes has ended.
///
/// # Errors
/// The store or the stored messages have failed, or a room has ended unexpectedly.
pub(super) async fn end(
    store: Option<Store>,
    broker: Option<Broker>,
    stopped: Result<(), StopError>,
    left: Duration,
) -> Result<(), AppError> {
    if let Some(store) = store {
        close(store, left.max(CLOSE_MIN)).await?;
    }
    let failed = broker.and_then(|broker| broker.store_failed().now_or_never());
    match (stopped, failed) {
        (Err(_), Some(why)) => Err(StoreUnusable::Messages { why }.into()),
        (stopped, _) => Ok(stopped?),
    }
}

/// Closes the store; after `max` the disk is not waited for any longer.
async fn close(store: Store, max: Duration) -> Result<(), StoreUnusable> {
    let path = store.path().to_owned();
    match timeout(max, blocking(move || store.close())).await {
        Ok(closed) => closed.map_err(|source| StoreUnusable::Failed { path, source }),
        // Every commit is with the operating system, and an unfinished snapshot covers nothing.
        Err(_) => {
            tracing::warn!(
                "the store was not closed within {max:?}, the rest of stop.grace: the disk is slow. Nothing is lost unless \
                 the system stops too; the next start removes an unfinished snapshot"
            );
            Ok(())
        }
    }
}

/// Opens the store, if there is one, and logs which of the two it is.
async fn open(config: &Config) -> Result<Option<Store>, StoreUnusable> {
    let Some(path) = config.store.folder().cloned() else {
        tracing::info!("state is kept in memory and is lost at a restart (store.path is empty)");
        return Ok(None);
    };
    let options = config.store.options();
    let shown = path.display().to_string();
    let (repaired, opened) = blocking(move || {
        let folders = [path.clone(), path.join(MESSAGES)];
        (repair_modes(&folders), Store::open(&path, options))
    })
    .await;
    let (store, torn) = opened?;
    let sync = match options.sync {
        SyncMode::Always => "fsync before each answer".to_owned(),
        SyncMode::Interval(interval) => format!("fsync every {interval:?}"),
        SyncMode::Os => "no fsync".to_owned(),
    };
    tracing::info!(store.path = %shown, "state is kept in the folder {shown}: {sync}");
    match repaired {
        Ok(0) => {}
        Ok(n) => tracing::warn!(
            store.path = %shown,
            "{n} files or folders in {shown} had other modes than 0600 or 0700, which may have let other users in: they have these modes now"
        ),
        Err(error) => tracing::warn!(
            store.path = %shown,
            "the modes of the files in {shown} cannot be set to 0600: {error}"
        ),
    }
    if let Some(torn) = torn {
        let file = torn.file.display();
        tracing::warn!(
            store.file = %file,
            "{file} ends with an unfinished write: {} bytes from byte {} on are dropped",
            torn.bytes,
            torn.offset
        );
    }
    Ok(Some(store))
}

/// Opens the registry with what the store holds.
async fn open_registry(
    config: &Config,
    store: Option<&Store>,
    restored: Option<Restored>,
) -> Result<Registry, StoreUnusable> {
    let events_max = config.registry.log_entries_max.get();
    let journal = |store: &Store| -> Box<dyn Journal> {
        Box::new(StoreJournal::new(store.clone(), events_max))
    };
    let outdated = restored.as_ref().map(|restored| {
        let mut writes = Writes::default();
        restored.clean(&mut writes);
        writes
    });
    let origins = Origins {
        remove_after: config.health.remove_after,
        journal: store.map_or_else(|| Box::new(MemoryJournal) as Box<dyn Journal>, journal),
        restored,
        ..Origins::default()
    };
    let registry = Registry::open(config.registry, origins);
    if let Some(store) = store.cloned() {
        let mut writes = outdated.unwrap_or_default();
        registry.opening_batch().write(events_max, &mut writes);
        match blocking(move || store.commit_as_configured(&mut writes)).await {
            // Each later batch writes the epoch too, and the rows that nothing reads are removed by a later start.
            Ok(_) | Err(StoreError::Full) => {}
            Err(error) => return Err(error.into()),
        }
        let (counts, revision) = (registry.counts(), registry.newest());
        let (instances, routes) = (counts.instances, counts.routes);
        tracing::info!(
            "the registry continues at revision {revision} with {instances} instances and {routes} routes"
        );
    }
    Ok(registry)
}

/// The registry's state of an earlier run, and everything else that is stored.
fn read(
    store: &Store,
    events_max: usize,
) -> Result<(Option<Restored>, Option<Contents>), StoreUnusable> {
    let contents = store.contents()?;
    let restored = Restored::read(events_max, |table| rows(&contents, table));
    let restored = restored.map_err(|error: RowError| error.of(store.path()))?;
    Ok((restored, Some(contents)))
}

type Row = (bytes::Bytes, bytes::Bytes);

fn rows(contents: &Contents, table: &str) -> impl Iterator<Item = Result<Row, RowError>> {
    contents
        .table(table)
        .map(|row| row.map_err(RowError::Files))
}

/// Why rows cannot be read.
pub(in crate::app) enum RowError {
    Files(StoreError),
    Row(UnreadableRow),
}

impl RowError {
    /// The error of a store in this folder.
    fn of(self, path: &Path) -> StoreUnusable {
        match self {
            Self::Files(error) => error.into(),
            Self::Row(source) => StoreUnusable::Row {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl From<UnreadableRow> for RowError {
    fn from(row: UnreadableRow) -> Self {
        Self::Row(row)
    }
}

/// Starts the commits of the registry and watches the store. Leases on connections of an earlier run end.
async fn start(store: &Store, registry: &Registry, tasks: &mut Tasks) -> Result<(), StoreUnusable> {
    let watched = store.clone();
    tasks.spawn(Stage::Source, "store", |stop| full::watch(watched, stop));
    let commits = registry.clone();
    tasks.spawn(Stage::Sink, "registry commits", async move |stop| {
        let handle = Handle::current();
        blocking(move || handle.block_on(commits.run_commits(stop))).await;
    });
    match registry.close_earlier_connections().await {
        Ok(()) => Ok(()),
        Err(Refusal::NoSpace) => {
            let registry = registry.clone();
            let close = |stop| full::close_earlier_connections(registry, stop);
            tasks.spawn(Stage::Source, "earlier connections", close);
            Ok(())
        }
        Err(refusal) => Err(StoreUnusable::NotWritten {
            path: store.path().to_owned(),
            detail: refusal.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests;
