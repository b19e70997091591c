//! The traits of http and migration, implemented for the rooms that do the work.

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    api::{
        Defaults, HealthReport, MigrationDraft, MigrationRefusal, MigrationReport, ReadyPart,
        TransportReport, WatcherAnswer, WatcherDraft,
    },
    broker::{
        Broker,
        auth::{UserEdit, UserRefused},
        definitions::{DefinitionFault, ImportReport},
        server::UserView,
    },
    catalog::{Caller, Identity},
    config::Config,
    health::{Config as HealthConfig, Health, in_container},
    http::{BrokerUsers, Migrations, Probes, Readiness, Transports, WatcherError, Watchers},
    migration::{FlagControl, Migration},
    model::{Cursor, FlagError, FlagState, Modes, Standing, Timestamp},
    registry::Refusal,
    store::Store,
    transport::{Start, TransportError, TransportSwitch, Webhooks},
};

impl Probes for Health {
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>> {
        Box::pin(self.check_now(id))
    }

    fn report_standing(&self, id: &str, check: &str, standing: Standing, text: &str) -> bool {
        self.report_standing(id, check, standing, text)
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        self.report(id)
    }
}

impl Watchers for Webhooks {
    fn add(
        &self,
        caller: &Caller,
        draft: WatcherDraft,
        from: Option<Cursor>,
    ) -> BoxFuture<'_, Result<WatcherAnswer, WatcherError>> {
        let start = from.map_or(Start::Newest, Start::After);
        let owner = match &caller.identity {
            Identity::Of(principal) => Some(principal.clone()),
            Identity::Anonymous | Identity::Daemon => None,
        };
        Box::pin(async move {
            let added = self.add_for(owner.as_ref(), draft, start).await;
            added.map_err(watcher_error)
        })
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

/// The users of the embedded broker.
#[derive(Debug)]
pub(super) struct EmbeddedUsers {
    pub(super) broker: Broker,
    pub(super) are_kept: bool,
}

impl BrokerUsers for EmbeddedUsers {
    fn list(&self) -> Vec<UserView> {
        self.broker.users()
    }

    fn find(&self, name: &str) -> Option<UserView> {
        self.broker.user(name)
    }

    fn edit<'a>(
        &'a self,
        name: &'a str,
        edit: UserEdit,
    ) -> BoxFuture<'a, Result<bool, UserRefused>> {
        Box::pin(self.broker.edit_user(name, edit))
    }

    fn are_kept(&self) -> bool {
        self.are_kept
    }

    fn definitions(&self) -> BoxFuture<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            let definitions = self.broker.definitions_with_users().await?;
            // Types of our own that hold text and numbers can always be written.
            let mut text = serde_json::to_vec_pretty(&definitions).unwrap_or_default();
            text.push(b'\n');
            Some(text)
        })
    }

    fn import(
        &self,
        file: Bytes,
        vhost: Option<String>,
    ) -> BoxFuture<'_, Result<ImportReport, Vec<DefinitionFault>>> {
        Box::pin(self.broker.import_with_users(file, vhost))
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

/// The rooms that must be ready.
#[derive(Debug)]
pub(super) struct ReadyParts {
    pub(super) transports: TransportSwitch,
    pub(super) store: Option<Store>,
}

impl Readiness for ReadyParts {
    fn parts(&self) -> Vec<ReadyPart> {
        let registry = self.transports.registry();
        let counts = registry.counts();
        let registry_part = ReadyPart {
            name: "registry",
            // It is in memory: ready as soon as it answers.
            ok: true,
            detail: format!(
                "instances: {}, services: {}",
                counts.instances, counts.services
            ),
        };
        let store = self.store.as_ref();
        let store = store.map(|store| store_part(store, registry.waiting()));
        let parts = [Some(registry_part), store, Some(self.transports.ready())];
        parts.into_iter().flatten().collect()
    }
}

/// A full disk leaves it ready: everything but changes is answered.
fn store_part(store: &Store, waiting: usize) -> ReadyPart {
    let stats = store.stats();
    let failed = store.failure().borrow().clone();
    let mut detail = format!(
        "{}, {} commits, last fsync {:.1} ms, {waiting} commands wait",
        ByteSize::b(stats.bytes),
        stats.commits,
        stats.last_sync.as_secs_f64() * 1e3,
    );
    if let Some(at) = stats.last_snapshot_ms {
        let at = Timestamp(i64::try_from(at).unwrap_or(i64::MAX));
        detail = format!("{detail}, last snapshot {at}");
    }
    if let Some(why) = &stats.degraded {
        detail = format!("{why}; {detail}");
    }
    ReadyPart {
        name: "store",
        ok: failed.is_none(),
        detail,
    }
}

/// Section `health`, and whether checks may run programs.
pub(super) fn probing(config: &Config) -> HealthConfig {
    HealthConfig {
        scripts: config.consul.enable_script_checks,
        ..config.health
    }
}

/// Values and limits of registrations.
pub(super) fn defaults(config: &Config) -> Defaults {
    Defaults {
        ttl: config.registry.ttl_default.get(),
        interval: config.health.interval.get(),
        timeout: config.health.timeout.get(),
        interval_min: config.health.interval_min.get(),
        timeout_max: config.health.timeout_max.get(),
        healthy_after: config.health.healthy_after.get(),
        unhealthy_after: config.health.unhealthy_after.get(),
        unsafe_requests: config.health.unsafe_requests,
        in_container: in_container(),
        checks_max: config.registry.checks_max.get(),
        tags_max: config.registry.tags_max.get(),
        metadata_bytes_max: usize::try_from(config.registry.metadata_max.as_u64())
            .unwrap_or(usize::MAX),
    }
}
