//! The traits of http, implemented for the rooms that do the work.

use futures_util::future::BoxFuture;

use crate::{
    api::{
        HealthReport, MigrationDraft, MigrationRefusal, MigrationReport, WatcherAnswer,
        WatcherDraft,
    },
    health::Health,
    http::{Migrations, Probes, WatcherError, Watchers},
    migration::Migration,
    model::Cursor,
    transport::{Start, TransportError, Webhooks},
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
    ) -> Result<WatcherAnswer, WatcherError> {
        let start = from.map_or(Start::Newest, Start::After);
        self.add(draft, start).map_err(|error| {
            let text = super::chain(&error);
            match error {
                TransportError::Full { .. } => WatcherError::Full(text),
                TransportError::Memory(_) => WatcherError::Memory(text),
                TransportError::Stopping => WatcherError::Stopping(text),
                TransportError::Url(_) => WatcherError::Url(text),
            }
        })
    }

    fn list(&self) -> Vec<WatcherAnswer> {
        self.list()
    }

    fn find(&self, id: &str) -> Option<WatcherAnswer> {
        self.find(id)
    }

    fn remove(&self, id: &str) -> bool {
        self.remove(id)
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
