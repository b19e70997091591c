//! The HTTP API as `app` builds it, and what every endpoint can reach.

use std::{ops::Deref, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::Config,
    dashboard::DashboardFiles,
    eureka::EurekaAnswers,
    rest::{RestMetrics, RestService},
    serve::{
        self, AccessError, BindError, HttpListener, ServeState, access::AccessPolicy,
        metrics::ServeMetrics, pipeline::Pipeline,
    },
    watch::WatchState,
};
use crate::{
    api::Defaults,
    catalog::{Catalog, KvCatalog},
    gateway::Gateway,
    http::{
        BrokerPages, BrokerUsers, Migrations, Probes, Readiness, Snapshots, SystemParts,
        Transports, Watchers,
    },
    kv::KvStore,
    model::{Instance, Timestamp},
    registry::{Notices, Registry},
    security::Identities,
    telemetry::Metrics,
};

/// The parts of other rooms that the API needs.
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
    /// Whether the daemon is ready.
    pub readiness: Arc<dyn Readiness>,
    /// The transport modes.
    pub transports: Arc<dyn Transports>,
    /// The embedded broker; none when it is switched off.
    pub broker: Option<Arc<dyn BrokerPages>>,
    /// Its users; none when it is switched off.
    pub broker_users: Option<Arc<dyn BrokerUsers>>,
    /// Backups; none when nothing is stored.
    pub snapshots: Option<Arc<dyn Snapshots>>,
    /// The migration.
    pub migration: Arc<dyn Migrations>,
    /// Notices: what watchers of everything get besides changes.
    pub notices: Arc<Notices>,
    /// Who may do what.
    pub identities: Identities,
    /// Limits of other rooms, and the configuration.
    pub system: Arc<dyn SystemParts>,
    /// Keys, sessions and user events.
    pub kv: KvStore,
}

/// Listens on `http.listen`.
///
/// # Errors
/// The address is not one, or is taken.
pub async fn bind(config: &Config) -> Result<HttpListener, BindError> {
    serve::bind("http.listen", &config.listen).await
}

/// Listens on `http.tls.listen`.
///
/// # Errors
/// The address is not one, or is taken.
pub async fn bind_tls(config: &Config) -> Result<HttpListener, BindError> {
    serve::bind("http.tls.listen", &config.tls.listen).await
}

/// The HTTP API, ready to be served.
#[derive(Clone, Debug)]
pub struct HttpApp {
    pub(super) state: AppState,
}

impl HttpApp {
    /// Joins the other rooms and the configuration.
    ///
    /// # Errors
    /// The rules for hosts and other origins can't be followed.
    pub fn new(config: Config, deps: Deps) -> Result<Self, AccessError> {
        let state = AppState::new(config, deps)?;
        Ok(Self { state })
    }

    /// Who may do what.
    pub fn identities(&self) -> &Identities {
        &self.state.identities
    }

    /// Follows the rules of another configuration from now on: `http.hosts` and `http.cors`.
    ///
    /// # Errors
    /// They can't be followed; the old ones stay.
    pub fn reload(&self, config: &Config) -> Result<(), AccessError> {
        let access = AccessPolicy::new(&config.hosts, &config.cors)?;
        self.state.serve.access.store(Arc::new(access));
        Ok(())
    }

    /// Serves until `stop`; then streams end at once and requests under way are finished.
    pub async fn serve(self, listeners: Vec<HttpListener>, stop: CancellationToken) {
        let state = self.state;
        let serve = Arc::clone(&state.serve);
        let pipeline = Pipeline::new(RestService::new(state), serve);
        serve::serve(listeners, pipeline, stop).await;
    }

    /// Closes connections of clients that read slowly where too much is held for them, until `stop`.
    pub async fn limit_held(self, stop: CancellationToken) {
        Arc::clone(&self.state.serve.held).run(stop).await;
    }

    /// Wakes requests that wait for a change of the gateway's routes, until told to stop.
    pub async fn follow_routes(self, stop: CancellationToken) {
        Arc::clone(&self.state.gateway).run(stop).await;
    }
}

/// The state of all endpoints, as a cheap handle.
#[derive(Clone, Debug)]
pub(super) struct AppState(Arc<AppStateInner>);

/// Sizes in bytes that bodies of requests are held to.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) body_max: u64,
    pub(super) body_drain_max: u64,
}

/// Behind the handle.
#[derive(Debug)]
pub(super) struct AppStateInner {
    pub(super) registry: Registry,
    pub(super) catalog: Catalog,
    pub(super) metrics: Metrics,
    pub(super) defaults: Defaults,
    pub(super) probes: Arc<dyn Probes>,
    pub(super) watchers: Arc<dyn Watchers>,
    pub(super) readiness: Arc<dyn Readiness>,
    pub(super) transports: Arc<dyn Transports>,
    pub(super) broker: Option<Arc<dyn BrokerPages>>,
    pub(super) broker_users: Option<Arc<dyn BrokerUsers>>,
    pub(super) snapshots: Option<Arc<dyn Snapshots>>,
    pub(super) migration: Arc<dyn Migrations>,
    pub(super) notices: Arc<Notices>,
    pub(super) identities: Identities,
    pub(super) system: Arc<dyn SystemParts>,
    pub(super) dashboard: DashboardFiles,
    pub(super) kv: KvCatalog,
    pub(super) config: Config,
    pub(super) limits: BodyLimits,
    pub(super) measures: RestMetrics,
    pub(super) watching: WatchState,
    pub(super) gateway: Arc<Gateway>,
    pub(super) eureka: EurekaAnswers,
    pub(super) serve: Arc<ServeState>,
    /// Those of `serve`.
    pub(super) closing: CancellationToken,
    pub(super) upgraded: TaskTracker,
    pub(super) started: tokio::time::Instant,
}

impl AppState {
    pub(super) fn new(config: Config, deps: Deps) -> Result<Self, AccessError> {
        let access = AccessPolicy::new(&config.hosts, &config.cors)?;
        let metrics = ServeMetrics::new(&deps.metrics);
        let registry = deps.registry.clone();
        let replaced = Box::new(move || registry.replaced_bytes());
        let limits = config.serve_limits();
        let serve = Arc::new(ServeState::new(limits, access, metrics, replaced));
        let catalog = Catalog::guarded(deps.registry.clone(), &deps.identities);
        let limits = BodyLimits {
            body_max: config.body_max.as_u64(),
            body_drain_max: config.body_drain_max.as_u64(),
        };
        Ok(Self(Arc::new(AppStateInner {
            measures: RestMetrics::new(&deps.metrics),
            watching: WatchState::new(&config.watch, &deps.metrics),
            gateway: Arc::new(Gateway::new(catalog.clone())),
            eureka: EurekaAnswers::default(),
            kv: KvCatalog::new(catalog.clone(), deps.kv),
            catalog,
            registry: deps.registry,
            metrics: deps.metrics,
            defaults: deps.defaults,
            probes: deps.probes,
            watchers: deps.watchers,
            readiness: deps.readiness,
            transports: deps.transports,
            broker: deps.broker,
            broker_users: deps.broker_users,
            snapshots: deps.snapshots,
            migration: deps.migration,
            notices: deps.notices,
            identities: deps.identities,
            system: deps.system,
            dashboard: DashboardFiles::new(config.dashboard, config.dashboard_folder.as_deref()),
            limits,
            config,
            closing: serve.closing.clone(),
            upgraded: serve.upgraded.clone(),
            serve,
            started: tokio::time::Instant::now(),
        })))
    }

    /// When the lease of an instance was last renewed, by the wall clock.
    pub(super) fn last_heartbeat(&self, instance: &Instance) -> Timestamp {
        self.catalog.last_heartbeat(instance)
    }

    /// The wall clock.
    pub(super) fn now(&self) -> Timestamp {
        self.catalog.now()
    }
}

impl Deref for AppState {
    type Target = AppStateInner;

    fn deref(&self) -> &AppStateInner {
        &self.0
    }
}
