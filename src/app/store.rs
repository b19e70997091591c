//! The store: opened before the rooms that keep something in it, closed after them.

mod journal;
mod rows;
mod snapshots;
mod topology;

use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use self::journal::StoreJournal;
pub(super) use self::topology::StoreTopology;
pub(super) use self::{rows::Kept, snapshots::snapshots};
use crate::{
    config::Config,
    disk::blocking,
    registry::{Journal, MemoryJournal, Origins, Registry, Restored, UnreadableRow},
    store::{Contents, Store, StoreError, SyncMode, Writes},
    tasks::{Stage, Tasks},
};

/// The folder of the broker's messages in that of the store.
pub(super) const MESSAGES: &str = "messages";

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

/// Makes everything durable. To be called when every room that writes has stopped.
pub(super) async fn end(store: Option<Store>) {
    let Some(store) = store else {
        return;
    };
    if let Err(error) = blocking(move || store.close()).await {
        tracing::error!(%error, "the store was not closed cleanly");
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
    let (store, torn) = blocking(move || Store::open(&path, options)).await?;
    let sync = match options.sync {
        SyncMode::Always => "fsync before each answer".to_owned(),
        SyncMode::Interval(interval) => format!("fsync every {interval:?}"),
        SyncMode::Os => "no fsync".to_owned(),
    };
    tracing::info!(store.path = %shown, "state is kept in the folder {shown}: {sync}");
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
        blocking(move || store.commit_as_configured(&mut writes)).await?;
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
    let mut failure = store.failure();
    tasks.spawn(Stage::Source, "store", async move |stop| {
        tokio::select! {
            () = stop.cancelled() => (),
            failed = failure.wait_for(Option::is_some) => {
                let why = failed.ok().and_then(|why| why.clone()).unwrap_or_default();
                tracing::error!("{why}: it is unknown what is durable, so the daemon stops");
            }
        }
    });
    let commits = registry.clone();
    tasks.spawn(Stage::Sink, "registry commits", async move |stop| {
        let handle = Handle::current();
        blocking(move || handle.block_on(commits.run_commits(stop))).await;
    });
    let closed = registry.close_earlier_connections().await;
    closed.map_err(|refusal| StoreUnusable::NotWritten {
        path: store.path().to_owned(),
        detail: refusal.to_string(),
    })
}
