//! What every endpoint can reach.

use std::{ops::Deref, sync::Arc};

use arc_swap::ArcSwap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Config,
    rest::gateway::Gateway,
    serve::{
        cors::{Cors, CorsError, Policy},
        metrics::Measures,
    },
    watch::Watching,
};
use crate::{
    api::Defaults,
    catalog::Catalog,
    http::{BrokerPages, Migrations, Probes, Readiness, Transports, Watchers},
    model::{Instance, Timestamp},
    registry::{Notices, Registry},
    telemetry::Metrics,
};

/// What the door needs of other rooms.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The registry.
    pub registry: Registry,
    /// The daemon's metrics.
    pub metrics: Metrics,
    /// Values and limits of registrations.
    pub defaults: Defaults,
    /// Probes of instances.
    pub probes: Arc<dyn Probes>,
    /// Webhooks.
    pub watchers: Arc<dyn Watchers>,
    /// Whether the daemon can do its work.
    pub readiness: Arc<dyn Readiness>,
    /// The flag.
    pub transports: Arc<dyn Transports>,
    /// The embedded broker; none when it is switched off.
    pub broker: Option<Arc<dyn BrokerPages>>,
    /// The migration.
    pub migration: Arc<dyn Migrations>,
    /// What watchers are told besides changes.
    pub notices: Arc<Notices>,
}

/// The door, ready to be served.
#[derive(Clone, Debug)]
pub struct HttpApp {
    pub(super) shared: Shared,
}

impl HttpApp {
    /// Joins the rooms and the configuration.
    ///
    /// # Errors
    /// The CORS policy can't be followed.
    pub fn new(config: Config, rooms: Deps) -> Result<Self, CorsError> {
        let shared = Shared::new(config, rooms)?;
        Ok(Self { shared })
    }

    /// Follows another CORS policy from now on.
    ///
    /// # Errors
    /// It can't be followed; the old one stays.
    pub fn set_cors(&self, cors: &Cors) -> Result<(), CorsError> {
        self.shared.cors.store(Arc::new(Policy::new(cors)?));
        Ok(())
    }
}

/// What every endpoint can reach, as a cheap handle.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Inner>);

/// Sizes in bytes that requests are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) body_max: u64,
    pub(super) body_drain_max: u64,
    pub(super) gzip_min: u64,
}

/// Behind the handle.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) registry: Registry,
    pub(super) catalog: Catalog,
    pub(super) metrics: Metrics,
    pub(super) defaults: Defaults,
    pub(super) probes: Arc<dyn Probes>,
    pub(super) watchers: Arc<dyn Watchers>,
    pub(super) readiness: Arc<dyn Readiness>,
    pub(super) transports: Arc<dyn Transports>,
    pub(super) broker: Option<Arc<dyn BrokerPages>>,
    pub(super) migration: Arc<dyn Migrations>,
    pub(super) notices: Arc<Notices>,
    pub(super) config: Config,
    pub(super) limits: Limits,
    pub(super) cors: ArcSwap<Policy>,
    pub(super) measures: Measures,
    pub(super) watching: Watching,
    pub(super) gateway: Gateway,
    /// Cancelled when the server stops: streams and long polls end at once.
    pub(super) closing: CancellationToken,
    /// Upgraded connections: the server waits for those that hold one of its tokens.
    pub(super) upgraded: TaskTracker,
    pub(super) started: tokio::time::Instant,
}

impl Shared {
    pub(super) fn new(config: Config, rooms: Deps) -> Result<Self, CorsError> {
        let policy = Policy::new(&config.cors)?;
        let limits = Limits {
            body_max: config.body_max.as_u64(),
            body_drain_max: config.body_drain_max.as_u64(),
            gzip_min: config.gzip_min.as_u64(),
        };
        Ok(Self(Arc::new(Inner {
            measures: Measures::new(&rooms.metrics),
            watching: Watching::new(&config.watch, &rooms.metrics),
            gateway: Gateway::default(),
            catalog: Catalog::new(rooms.registry.clone()),
            registry: rooms.registry,
            metrics: rooms.metrics,
            defaults: rooms.defaults,
            probes: rooms.probes,
            watchers: rooms.watchers,
            readiness: rooms.readiness,
            transports: rooms.transports,
            broker: rooms.broker,
            migration: rooms.migration,
            notices: rooms.notices,
            limits,
            config,
            cors: ArcSwap::from_pointee(policy),
            closing: CancellationToken::new(),
            upgraded: TaskTracker::new(),
            started: tokio::time::Instant::now(),
        })))
    }

    /// When an instance last gave a sign of life, by the wall clock.
    pub(super) fn last_heartbeat(&self, instance: &Instance) -> Timestamp {
        self.catalog.last_heartbeat(instance)
    }

    /// The wall clock.
    pub(super) fn now(&self) -> Timestamp {
        self.catalog.now()
    }
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
