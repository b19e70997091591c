//! The broker as a program runs it: listeners, connections, and views of what there is.

mod alarm;
mod arrival;
mod clock;
mod connection;
mod connections;
mod definitions;
mod handshake;
mod link;
mod listener;
mod log_limiter;
mod login;
mod operate;
mod policies;
mod reload;
mod stored;
mod users;
mod view;
mod wire;

use std::{
    collections::HashMap,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(super) use self::clock::VhostCell;
pub use self::{
    connections::ConnectionView,
    operate::OperationRefused,
    policies::{NoPolicyRows, POLICY_TABLE, PolicyRefused, PolicyRows, UnreadablePolicy},
    reload::Reloaded,
    stored::{DurableStore, FrozenMessages, StoredFault},
    users::{NoUserRows, USER_TABLE, UnreadableUser, UserRows, UserView},
    view::{BrokerUse, Overview},
};
use self::{
    connections::Connections, listener::Listener, log_limiter::ClientLog, policies::Policies,
    reload::LoginRules, stored::Stores, users::RunTimeUsers,
};
pub(in crate::broker) use self::{connections::LocalConnection, handshake::DIALECT};
use super::{
    auth::ConfigFault,
    config::{Config, bytes},
    memory::Memory,
    queue::ConnectionId,
    vhost::{BrokerTime, Stamp, Vhost},
    wire::ShortStr,
};
use crate::tls::TlsError;

/// How many closed connections may wait for the listener of closed connections.
const CLOSED_MAX: usize = 1024;

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address cannot be read.
    #[error("broker.listen: \"{0}\" is not an address and port, such as \"127.0.0.1:5672\"")]
    Address(String, #[source] io::Error),
    /// The address of the TLS listener cannot be read.
    #[error("broker.tls.listen: \"{0}\" is not an address and port, such as \"0.0.0.0:5671\"")]
    TlsAddress(String, #[source] io::Error),
    /// The address is taken or not this machine's.
    #[error("cannot listen on \"{address}\": choose another broker.listen or free the port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A name in the configuration is not one that AMQP can carry.
    #[error("the name \"{0}\" is longer than 255 bytes")]
    Name(String),
    /// Users or their permissions are wrong.
    #[error("{}", FaultList(.0))]
    Auth(Vec<ConfigFault>),
    /// The encrypted door cannot be opened.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What was stored cannot be put back.
    #[error(transparent)]
    Stored(#[from] StoredFault),
}

struct FaultList<'a>(&'a [ConfigFault]);

impl fmt::Display for FaultList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", fault.key, fault.message)?;
        }
        Ok(())
    }
}

/// A broker. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// As it was at the start; [`Self::access`] has what was reloaded.
    pub(super) config: Config,
    /// Users, permissions and certificates.
    access: ArcSwap<LoginRules>,
    /// The users that were made at run time.
    users: RunTimeUsers,
    /// The policies of each vhost.
    policies: Policies,
    /// The version of `access`: holders of cached permissions compare it.
    access_version: AtomicU64,
    vhosts: HashMap<String, Arc<VhostCell>>,
    /// What stores what is durable; none: nothing survives.
    stores: OnceLock<Stores>,
    pub(super) memory: Arc<Memory>,
    pub(super) connections: Connections,
    log: ClientLog,
    next_connection: AtomicU64,
    closed: OnceLock<mpsc::Sender<ConnectionId>>,
    started: Instant,
    /// The threads that the broker runs on; none when it was made outside of a runtime.
    runtime: Option<Handle>,
    /// What is being made for others to look at.
    views: TaskTracker,
    /// Held during an import of definitions.
    imports: tokio::sync::Mutex<()>,
}

/// A broker that is bound to its addresses and not yet serving.
#[derive(Debug)]
pub struct Listening {
    broker: Broker,
    plain: Option<Listener>,
    tls: Option<Listener>,
}

impl Listening {
    /// A handle to look at the broker with.
    pub fn broker(&self) -> Broker {
        self.broker.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.plain.as_ref().and_then(Listener::address)
    }

    /// Where it listens for encrypted connections.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(Listener::address)
    }

    /// Serves until `stop`; then closes every connection with 320 and waits for `broker.limits.shutdown`.
    ///
    /// # Panics
    /// When a task panics that does not belong to a single client.
    pub async fn serve(self, stop: CancellationToken) {
        let shared = self.broker.shared;
        let (clients, mut tasks) = (TaskTracker::new(), JoinSet::new());
        for cell in shared.vhosts.values() {
            tasks.spawn(clock::run(
                Arc::clone(&shared),
                Arc::clone(cell),
                stop.clone(),
            ));
        }
        tasks.spawn(log_limiter::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(alarm::run(Arc::clone(&shared), stop.clone()));
        tasks.spawn(alarm::watch_disk(Arc::clone(&shared), stop.clone()));
        for listener in [self.plain, self.tls].into_iter().flatten() {
            tasks.spawn(listener.serve(Arc::clone(&shared), clients.clone(), stop.clone()));
        }
        // Each of these tasks ends at `stop` and not before.
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        clients.close();
        let grace = shared.config.limits.shutdown;
        if tokio::time::timeout(grace.get(), clients.wait())
            .await
            .is_err()
        {
            let left = shared.connections.len();
            tracing::warn!(
                connections = left,
                "{left} connections did not close in time"
            );
        }
        if let Some(stores) = shared.stores.get() {
            stores.close().await;
        }
    }
}

/// The address of the TLS listener, if there is one.
fn tls_address(config: &Config) -> Result<Option<SocketAddr>, BrokerError> {
    let address = config.tls.address();
    address.map_err(|error| BrokerError::TlsAddress(config.tls.listen.clone(), error))
}

impl Broker {
    /// Reads the files and resolves the addresses that the configuration names, without listening.
    ///
    /// # Errors
    /// With the first that cannot be used.
    pub fn check(config: &Config) -> Result<(), BrokerError> {
        let address = config.address();
        address.map_err(|error| BrokerError::Address(config.listen.clone(), error))?;
        if tls_address(config)?.is_some() {
            config.tls.files()?.server()?;
        }
        Ok(())
    }

    /// A broker that listens as configured.
    pub async fn bind(config: Config) -> Result<Listening, BrokerError> {
        Self::new(config)?.listen().await
    }

    /// The same, after what is durable was put back from a store, which then gets every change.
    pub async fn bind_durable(
        config: Config,
        store: DurableStore,
    ) -> Result<Listening, BrokerError> {
        Self::check(&config)?;
        let broker = Self::new(config)?;
        broker.restore(store).await?;
        broker.listen().await
    }

    async fn listen(self) -> Result<Listening, BrokerError> {
        let config = &self.shared.config;
        let address = config
            .address()
            .map_err(|error| BrokerError::Address(config.listen.clone(), error))?;
        let plain = match address {
            None => None,
            Some(address) => Some(Listener::plain(address).await?),
        };
        let tls = match tls_address(config)? {
            None => None,
            Some(address) => Some(Listener::tls(address).await?),
        };
        let broker = self;
        Ok(Listening { broker, plain, tls })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn new(config: Config) -> Result<Self, BrokerError> {
        let memory = Memory::new(bytes(config.limits.memory.get()));
        let short = |name: &String| {
            ShortStr::copied(name.as_bytes()).ok_or_else(|| BrokerError::Name(name.clone()))
        };
        let stamp = Stamp {
            queues: config
                .stamp_queues
                .iter()
                .map(short)
                .collect::<Result<_, _>>()?,
            header: short(&config.stamp_header)?,
            user_header: short(&config.stamp_user_header)?,
        };
        let mut vhosts = HashMap::new();
        for name in &config.vhosts {
            short(name)?;
            let vhost = Vhost::new(
                name,
                config.limits.clone(),
                Arc::clone(&memory),
                stamp.clone(),
            );
            vhosts.insert(name.clone(), Arc::new(VhostCell::new(vhost)));
        }
        let connections = connections(&config);
        let shared = Shared {
            access: ArcSwap::from_pointee(LoginRules::new(&config)?),
            users: RunTimeUsers::default(),
            policies: Policies::default(),
            access_version: AtomicU64::new(0),
            config,
            vhosts,
            stores: OnceLock::new(),
            memory,
            connections,
            log: ClientLog::default(),
            next_connection: AtomicU64::new(1),
            closed: OnceLock::new(),
            started: Instant::now(),
            runtime: Handle::try_current().ok(),
            views: TaskTracker::new(),
            imports: tokio::sync::Mutex::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The numbers of the connections that close from now on. There is one receiver: a second call gets
    /// none. It must be read: the tasks of closed connections wait for room in it.
    pub fn closed_connections(&self) -> Option<mpsc::Receiver<ConnectionId>> {
        let (sender, receiver) = mpsc::channel(CLOSED_MAX);
        self.shared.closed.set(sender).ok().map(|()| receiver)
    }
}

/// The connections that the configuration and the system allow.
fn connections(config: &Config) -> Connections {
    let files = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
    let connections =
        Connections::new(&config.limits, usize::try_from(files).unwrap_or(usize::MAX));
    let (limit, wanted) = (connections.limit(), config.limits.connections);
    if limit < wanted.get() {
        tracing::warn!(
            limit,
            "only {limit} AMQP connections are accepted, not {wanted} (broker.limits.connections): the process \
             may have {files} files open"
        );
    }
    connections
}

impl Shared {
    /// A vhost, if it is there.
    pub(super) fn vhost(&self, name: &str) -> Option<Arc<VhostCell>> {
        self.vhosts.get(name).cloned()
    }

    /// A vhost by its number among them.
    fn numbered_vhost(&self, number: usize) -> Option<&Arc<VhostCell>> {
        self.vhosts.values().nth(number)
    }

    pub(super) fn now(&self) -> BrokerTime {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        BrokerTime { ms, unix_ms }
    }

    pub(super) fn next_connection(&self) -> ConnectionId {
        self.next_connection.fetch_add(1, Relaxed)
    }
}
