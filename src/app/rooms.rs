//! The traits of http and migration, implemented for the rooms that do the work.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    api::{
        HealthReport, MigrationDraft, MigrationRefusal, MigrationReport, ReadyPart,
        TransportReport, WatcherAnswer, WatcherDraft,
    },
    health::Health,
    http::{Migrations, Probes, Readiness, Transports, WatcherError, Watchers},
    migration::{FlagControl, Migration},
    model::{Cursor, FlagError, FlagState, Modes},
    registry::Refusal,
    transport::{Start, TransportError, TransportSwitch, Webhooks},
};

impl Probes for Health {
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>> {
        Box::pin(self.check_now(id))
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        self.report(id)
    }
}

impl Watchers for Webhooks {
    fn add(
        &self,
        draft: WatcherDraft,
        from: Option<Cursor>,
    ) -> BoxFuture<'_, Result<WatcherAnswer, WatcherError>> {
        let start = from.map_or(Start::Newest, Start::After);
        Box::pin(async move { self.add(draft, start).await.map_err(watcher_error) })
    }

    fn list(&self) -> Vec<WatcherAnswer> {
        self.list()
    }

    fn find(&self, id: &str) -> Option<WatcherAnswer> {
        self.find(id)
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, WatcherError>> {
        Box::pin(async move { self.remove(id).await.map_err(watcher_error) })
    }
}

fn watcher_error(error: TransportError) -> WatcherError {
    let text = super::chain(&error);
    match error {
        TransportError::Full { .. } => WatcherError::Full(text),
        TransportError::NotTaken(Refusal::MemoryFull { .. } | Refusal::NoSpace) => {
            WatcherError::NoRoom(text)
        }
        TransportError::NotTaken(_) | TransportError::Stopping => WatcherError::Stopping(text),
        TransportError::Url(_) => WatcherError::Url(text),
    }
}

impl Migrations for Migration {
    fn report(&self) -> MigrationReport {
        self.report()
    }

    fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal> {
        self.ask(draft)
    }
}

impl Transports for TransportSwitch {
    fn report(&self) -> TransportReport {
        self.report()
    }

    fn flag(&self) -> FlagState {
        self.flag()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(self.set(modes, only_if))
    }
}

impl FlagControl for TransportSwitch {
    fn report(&self) -> TransportReport {
        self.report()
    }

    fn flag(&self) -> FlagState {
        self.flag()
    }

    fn follow(&self) -> watch::Receiver<FlagState> {
        self.follow()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(self.set(modes, only_if))
    }

    fn settled(&self, max: Duration) -> BoxFuture<'_, bool> {
        Box::pin(self.settled(max))
    }
}

impl Readiness for TransportSwitch {
    fn parts(&self) -> Vec<ReadyPart> {
        let counts = self.registry().counts();
        let registry = ReadyPart {
            name: "registry",
            // It is in memory: ready as soon as it answers.
            ok: true,
            detail: format!(
                "instances: {}, services: {}",
                counts.instances, counts.services
            ),
        };
        vec![registry, self.ready()]
    }
}
