//! The broker as a program runs it: listens, keeps the connections, tells what is going on.

mod clock;
mod connection;
mod handshake;
mod link;
mod registry;
mod view;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{clock::VhostCell, registry::Registry};
pub use self::{
    registry::ConnectionView,
    view::{ChannelView, Overview},
};
use super::{
    config::Config,
    memory::Memory,
    queue::ConnectionId,
    vhost::{Keeper, Now, Stamp, Vhost},
    wire::ShortStr,
};

/// How many closed connections may wait to be told of.
const CLOSED_MAX: usize = 1024;
/// How long the listener rests after an error that is not a client's.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
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
}

/// A broker. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    config: Config,
    vhosts: HashMap<String, Arc<VhostCell>>,
    memory: Arc<Memory>,
    registry: Registry,
    next_connection: AtomicU64,
    closed: OnceLock<mpsc::Sender<ConnectionId>>,
    started: Instant,
}

/// A broker that is bound to its address and not yet serving.
#[derive(Debug)]
pub struct Listening {
    broker: Broker,
    listener: Option<TcpListener>,
}

impl Listening {
    /// A handle to look at the broker with.
    pub fn broker(&self) -> Broker {
        self.broker.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop`; then closes every connection with 320 and waits, but not for ever.
    pub async fn serve(self, stop: CancellationToken) {
        let shared = self.broker.shared;
        let tasks = TaskTracker::new();
        for cell in shared.vhosts.values() {
            tasks.spawn(clock::run(Arc::clone(&shared), Arc::clone(cell), stop.clone()));
        }
        if let Some(listener) = self.listener {
            accept(&shared, &listener, &tasks, &stop).await;
        }
        stop.cancelled().await;
        tasks.close();
        let grace = shared.config.limits.shutdown();
        if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
            let left = shared.registry.len();
            tracing::warn!(connections = left, "{left} connections did not close in time");
        }
    }
}

async fn accept(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                let limit = shared.config.limits.connections;
                if shared.registry.len() >= limit {
                    tracing::warn!(
                        "refused {address}: there are {limit} connections, raise limits.connections"
                    );
                    continue;
                }
                tasks.spawn(connection::run(Arc::clone(shared), socket, address, stop.clone()));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Broker {
    /// A broker that listens as configured.
    pub async fn bind(config: Config) -> Result<Listening, BrokerError> {
        let listener = match config.listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|source| BrokerError::Listen { address, source })?)
            }
        };
        let broker = Self::new(config)?;
        Ok(Listening { broker, listener })
    }

    fn new(config: Config) -> Result<Self, BrokerError> {
        let memory = Memory::new(config.limits.memory_bytes);
        let short = |name: &String| {
            ShortStr::copied(name.as_bytes()).ok_or_else(|| BrokerError::Name(name.clone()))
        };
        let stamp = Stamp {
            queues: config.stamp_queues.iter().map(short).collect::<Result<_, _>>()?,
            header: short(&config.stamp_header)?,
        };
        let mut vhosts = HashMap::new();
        for name in &config.vhosts {
            short(name)?;
            let vhost =
                Vhost::new(name, config.limits.clone(), Arc::clone(&memory), stamp.clone());
            vhosts.insert(name.clone(), Arc::new(VhostCell::new(vhost)));
        }
        let shared = Shared {
            config,
            vhosts,
            memory,
            registry: Registry::default(),
            next_connection: AtomicU64::new(1),
            closed: OnceLock::new(),
            started: Instant::now(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Tells of every connection that has ended, from now on. There is one listener: a second call
    /// gets nothing.
    pub fn closed_connections(&self) -> Option<mpsc::Receiver<ConnectionId>> {
        let (sender, receiver) = mpsc::channel(CLOSED_MAX);
        self.shared.closed.set(sender).ok().map(|()| receiver)
    }

    /// Hands persistent messages of durable queues in a vhost to a store; whether there is such a
    /// vhost.
    pub fn keep_with(&self, vhost: &str, keeper: Box<dyn Keeper>) -> bool {
        let Some(cell) = self.shared.vhosts.get(vhost) else {
            return false;
        };
        cell.lock().keep_with(keeper);
        true
    }
}

impl Shared {
    fn now(&self) -> Now {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Now { ms, unix_s }
    }

    fn next_connection(&self) -> ConnectionId {
        self.next_connection.fetch_add(1, Relaxed)
    }
}
