//! The composition root: builds each room and gives it only what it needs.

mod amqp;
mod banner;
mod canary;
mod certificates;
mod connections;
mod consul;
mod doors;
mod error;
mod identities;
mod jwks;
mod kv;
mod management;
mod migrate;
mod reload;
mod requests;
mod rooms;
mod store;
mod system;

use std::{net::SocketAddr, sync::Arc};

use tokio::{runtime::Handle, sync::Notify};

use self::{
    banner::Addresses,
    connections::serve_broker,
    doors::{ServedHttp, open, raise_open_files},
    management::show_broker,
    requests::ClientRequests,
    rooms::{EmbeddedUsers, ReadyParts, defaults, probing},
    store::{Kept, StoreTopology},
    system::System,
};
pub use self::{
    error::{AppError, chain},
    reload::Reloader,
    store::StoreUnusable,
};
use crate::{
    broker::{Broker, DurableStore, Listening},
    catalog::Catalog,
    config::{Config, Values},
    health::Health,
    http::{BrokerPages, BrokerUsers, Deps, HttpApp},
    monitor,
    outbound::Client,
    registry::{Notices, Registry},
    security::Identities,
    store::Store,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::{
        Callback, Callbacks, DirectMetrics, Filter, Flag, Start, Subscription, TransportError,
        TransportSwitch, Webhooks, amqp::BrokerTransport,
    },
};
pub use crate::{
    broker::{auth::hash_password, message_log},
    store::{
        StoreError, StoreReport, check as check_store, repair as repair_store,
        restore as restore_store, verify as verify_backup,
    },
    telemetry::Logs,
};

/// The running daemon: its rooms run from `start` on and are stopped in order at the end of `run_until`.
#[derive(Debug)]
pub struct App {
    config: Config,
    tasks: Tasks,
    registry: Registry,
    callbacks: Callbacks,
    door: HttpApp,
    broker: Option<Broker>,
    metrics: Metrics,
    system: Arc<System>,
    store: Option<Store>,
    http: ServedHttp,
    addresses: Addresses,
    requests: ClientRequests,
}

impl App {
    /// Binds every door, builds every room and starts them.
    ///
    /// # Errors
    /// A door can't be opened, or the configuration contradicts itself.
    pub async fn start(config: Config) -> Result<Self, AppError> {
        Self::start_on(&Handle::current(), config).await
    }

    /// Starts like [`Self::start`], and serves HTTP on a separate runtime. That must outlive the daemon:
    /// probes requested over HTTP leave connections there that others use.
    ///
    /// # Errors
    /// The same.
    #[expect(clippy::too_many_lines, reason = "each room is built in a line or two")]
    pub async fn start_on(http: &Handle, config: Config) -> Result<Self, AppError> {
        let config = usable(config)?;
        let (metrics, mut tasks) = (Metrics::of_process(), Tasks::default());
        let opened = store::begin(&config, &mut tasks).await?;
        let registry = opened.registry;
        let mut kept = Kept::read(opened.store.clone(), opened.contents).await?;
        let client = Client::new(&config.outbound, &metrics)?;
        let from = (&registry, &client, &kept);
        let (identities, first) = identities::load(&config, from, &mut tasks)?;
        let direct = DirectMetrics::new(&metrics);
        let flag = open_flag(&config, &registry, &kept, &mut tasks);
        let modes = flag.state().modes;
        let notices = kept.notices(&config, &registry);
        let (callbacks, webhooks) =
            subscribers(&config, &registry, &flag, &notices, &client, &direct, &kept);
        let probing = probing(&config);
        let health = Health::new(probing, registry.clone(), client.clone(), &metrics);
        let listening = bind_broker(&config, opened.store.as_ref(), &kept).await?;
        let own = listening.as_ref();
        let way = amqp::build(&config, own, &registry, &flag, direct, &kept).await?;
        let transports = switch(&config, &registry, flag, way.clone(), &metrics);
        let shared = (&transports, &callbacks, &notices, &metrics, &kept);
        let migration = migrate::start(&config, shared, http, &mut tasks).await?;
        let broker = own.map(Listening::broker);
        let system = System::new(&config, &registry, (&callbacks, &webhooks), broker.clone());
        let monitor = show_broker(&config, own, &metrics, &mut tasks);
        let rooms = Deps {
            system: Arc::<System>::clone(&system),
            broker: monitor.clone().map(|one| one as Arc<dyn BrokerPages>),
            broker_users: broker_users(own, opened.store.as_ref()),
            registry: registry.clone(),
            defaults: defaults(&config),
            probes: Arc::new(health.clone()),
            watchers: Arc::new(webhooks.clone()),
            readiness: Arc::new(ready_parts(&transports, opened.store.as_ref())),
            transports: Arc::new(transports),
            metrics: metrics.clone(),
            snapshots: store::snapshots(opened.store.as_ref(), own),
            migration,
            notices: Arc::clone(&notices),
            identities: identities.clone(),
            kv: kv::open(&config, &registry, &metrics, &mut kept, &way, &mut tasks),
        };
        monitor::show_registry(&metrics, &registry, opened.store.as_ref(), &mut tasks);
        let door = HttpApp::new(config.http.clone(), rooms)?;
        webhooks.restore(&kept.transport, &identities);
        let rooms = (&door, &registry, &metrics);
        let (served, dns) = open(&config, &identities, rooms, http, &mut tasks).await?;
        let requests = ClientRequests::default();
        let rooms = (&door, &requests);
        let consul = consul::open(&config, &identities, rooms, http, &mut tasks).await?;
        let management = management::open(&config, (own, monitor), &door, http, &mut tasks).await?;
        if let Some(way) = &way {
            let answers = answers(&config, &registry, &identities, (own, &door));
            amqp::start(way, answers, notices, &mut tasks);
            let clock = registry.clock();
            amqp::checks::start(way, &config, &health, &client, clock, &metrics, &mut tasks);
        }
        let amqp = serve_broker(listening, &registry, &mut tasks);
        run_registry(http, &registry, health, client, &mut tasks);
        run_subscribers(&callbacks, webhooks, &metrics, &mut tasks);
        let addresses = Addresses::new(served.addresses, amqp, (dns, management, consul));
        banner::log(&config, addresses, modes, &identities);
        identities::show_first(first, std::io::stderr())?;
        Ok(Self {
            config,
            tasks,
            registry,
            callbacks,
            door,
            broker,
            metrics,
            system,
            store: opened.store,
            http: served,
            addresses,
            requests,
        })
    }

    /// Where REST is served, at `http.listen`; none when that door is switched off.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.addresses.main
    }

    /// Where REST is served at `http.tls.listen`; none when that door is switched off.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.http.addresses.encrypted
    }

    /// Where AMQP is served in the clear; none when that door is switched off.
    pub fn amqp_address(&self) -> Option<SocketAddr> {
        self.addresses.amqp
    }

    /// Where the Consul-compatible API is served; none when that door is closed.
    pub fn consul_address(&self) -> Option<SocketAddr> {
        self.addresses.consul
    }

    /// Where DNS is served; none when that door is closed.
    pub fn dns_address(&self) -> Option<SocketAddr> {
        self.addresses.dns
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Calls `callback` for each change that `filter` selects, until the subscription is dropped.
    ///
    /// # Errors
    /// There are too many callbacks.
    pub fn subscribe(
        &self,
        filter: Filter,
        start: Start,
        callback: impl Callback,
    ) -> Result<Subscription, TransportError> {
        self.callbacks.subscribe(filter, start, callback)
    }

    /// Shows the log among the metrics, and gives what SIGHUP may change: `values` are those in effect.
    pub fn reloader(&self, logs: Logs, values: Values) -> Reloader {
        logs.show(&self.metrics);
        self.requests.show_log(&logs);
        self.system.show(values.shown());
        let doors = (self.door.clone(), self.http.tls.clone());
        let (broker, identities) = (self.broker.clone(), self.door.identities().clone());
        Reloader::new(
            logs,
            doors,
            broker,
            identities,
            Arc::clone(&self.system),
            values,
        )
    }

    /// Notified when a client asks for the configuration to be read again.
    pub fn reload_requests(&self) -> Arc<Notify> {
        self.requests.reloads()
    }

    /// Runs until `request` completes, a client asks for a stop or a room ends, then stops the rooms in order.
    ///
    /// # Errors
    /// A room ended unexpectedly, panicked or was still busy after `stop.grace`.
    pub async fn run_until(mut self, request: impl Future<Output = ()>) -> Result<(), AppError> {
        let grace = self.config.stop.grace.get();
        let request = self.requests.or_left(request);
        let stopped = self.tasks.run_until(request, grace).await;
        store::end(self.store, self.broker, stopped, self.tasks.left()).await
    }
}

/// Runs a prober that belongs to no daemon, at the broker of `transport.amqp_url`, until `request`
/// completes; then probes under way are still answered.
///
/// # Errors
/// The configuration contradicts itself, or a room ended unexpectedly or was overdue.
pub async fn run_prober(config: Config, request: impl Future<Output = ()>) -> Result<(), AppError> {
    raise_open_files();
    amqp::checks::run_alone(config, request).await
}

/// Everything that is wrong with a configuration besides its values, found without listening: files that it names.
pub fn check(config: &Config) -> Vec<AppError> {
    let outbound = Client::new(&config.outbound, &Metrics::default());
    let checks = [
        outbound.map(drop).map_err(AppError::from),
        Broker::check(&config.broker).map_err(AppError::from),
        amqp::check(config),
        identities::check(config).map_err(AppError::from),
        config.http.tls.open().map(drop).map_err(AppError::from),
    ];
    checks.into_iter().filter_map(Result::err).collect()
}

/// The configuration that a start uses. What is wrong with it is found before the store is opened, so that a start that
/// is refused changes nothing.
fn usable(mut config: Config) -> Result<Config, AppError> {
    raise_open_files();
    config.fit_into_grace();
    match check(&config).into_iter().next() {
        Some(error) => Err(error),
        None => Ok(config),
    }
}

/// The modes, with the task that stores them.
fn open_flag(config: &Config, registry: &Registry, kept: &Kept, tasks: &mut Tasks) -> Flag {
    let flag = Flag::open(
        &config.transport,
        config.has_broker(),
        registry.clone(),
        &kept.transport,
        Arc::new(kept.rows.clone()),
    );
    let keeper = flag.clone();
    tasks.spawn(Stage::Carrier, "modes", |stop| keeper.keep(stop));
    flag
}

/// The direct subscribers of changes; the flag decides how far they may read.
fn subscribers(
    config: &Config,
    registry: &Registry,
    flag: &Flag,
    notices: &Arc<Notices>,
    client: &Client,
    metrics: &DirectMetrics,
    kept: &Kept,
) -> (Callbacks, Webhooks) {
    let (transport, watermark) = (&config.transport, flag.watermark());
    let callbacks = Callbacks::new(
        registry.clone(),
        transport.clone(),
        watermark.clone(),
        metrics.clone(),
    );
    let webhooks = Webhooks::new(
        registry.clone(),
        transport.clone(),
        watermark.clone(),
        Arc::clone(notices),
        client.clone(),
        metrics.clone(),
        Arc::new(kept.rows.clone()),
    );
    (callbacks, webhooks)
}

/// The modes with what carries them, shown among the metrics.
fn switch(
    config: &Config,
    registry: &Registry,
    flag: Flag,
    way: Option<BrokerTransport>,
    metrics: &Metrics,
) -> TransportSwitch {
    let transports = TransportSwitch::new(registry.clone(), flag, way, config.transport.direct);
    monitor::show_transport(metrics, transports.clone());
    transports
}

fn run_registry(
    http: &Handle,
    registry: &Registry,
    health: Health,
    client: Client,
    tasks: &mut Tasks,
) {
    // Every room is built: from now on leases can be renewed.
    registry.begin_leases();
    // On the threads of HTTP, which AMQP clients cannot delay.
    tasks.spawn_on(http, Stage::Source, "leases", |stop| {
        registry.clone().run(stop)
    });
    tasks.spawn(Stage::Source, "health", |stop| health.run(stop));
    tasks.spawn(Stage::Sink, "outbound", |stop| client.run(stop));
}

fn run_subscribers(
    callbacks: &Callbacks,
    webhooks: Webhooks,
    metrics: &Metrics,
    tasks: &mut Tasks,
) {
    let (callbacks, shown) = (callbacks.clone(), webhooks.clone());
    metrics.before_render(move || shown.show());
    tasks.spawn(Stage::Carrier, "callbacks", |stop| callbacks.run(stop));
    tasks.spawn(Stage::Carrier, "webhooks", |stop| webhooks.run(stop));
}

async fn bind_broker(
    config: &Config,
    store: Option<&Store>,
    kept: &Kept,
) -> Result<Option<Listening>, AppError> {
    let broker = config.broker.clone();
    if broker.listen.is_empty() && broker.tls.listen.is_empty() {
        return Ok(None);
    }
    let listening = match store.cloned() {
        Some(store) => {
            let durable = DurableStore {
                messages: store.path().join(store::MESSAGES),
                topology: Arc::new(StoreTopology(store)),
            };
            Broker::bind_durable(broker, durable).await?
        }
        None => Broker::bind(broker).await?,
    };
    kept.restore_users(&listening.broker())?;
    kept.restore_policies(&listening.broker()).await?;
    Ok(Some(listening))
}

/// The broker's users, as HTTP changes them.
fn broker_users(
    listening: Option<&Listening>,
    store: Option<&Store>,
) -> Option<Arc<dyn BrokerUsers>> {
    let users = EmbeddedUsers {
        broker: listening?.broker(),
        are_kept: store.is_some(),
    };
    Some(Arc::new(users))
}

/// The parts that must be ready.
fn ready_parts(transports: &TransportSwitch, store: Option<&Store>) -> ReadyParts {
    ReadyParts {
        transports: transports.clone(),
        store: store.cloned(),
    }
}

/// The objects that answer commands over the broker.
fn answers(
    config: &Config,
    registry: &Registry,
    identities: &Identities,
    (own, door): (Option<&Listening>, &HttpApp),
) -> amqp::Answers {
    amqp::Answers {
        catalog: Catalog::guarded(registry.clone(), identities),
        defaults: Arc::new(defaults(config)),
        broker: command_broker(config, own),
        direct: door.client(),
        identities: identities.clone(),
        stamps: (
            config.broker.stamp_queues.clone().into(),
            config.broker.stamp_user_header.as_str().into(),
        ),
    }
}

/// The embedded broker, if commands come over it: then leases can depend on its connections.
fn command_broker(config: &Config, own: Option<&Listening>) -> Option<Broker> {
    let own = own.filter(|_| config.transport.amqp_url.is_empty())?;
    Some(own.broker())
}
