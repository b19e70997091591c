//! Listens, and joins the parts of DNS.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener, UdpSocket as StdUdpSocket},
    sync::Arc,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpSocket, UdpSocket, lookup_host},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::Config,
    forward::Forwarder,
    metrics::{Carrier, DnsMetrics},
    resolver::{DnsResolver, Handled},
    response::AnswerBuffer,
    tcp::{StreamLimits, StreamServer},
    udp::DatagramServer,
};
use crate::{
    catalog::{Catalog, Sight},
    telemetry::Metrics,
};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;
/// What the kernel may keep of datagrams until they are read.
const RECEIVE_BYTES: usize = 1 << 20;
/// Free ports that are tried for `listen` with port 0: one that is free for TCP may be taken for UDP.
const PORTS_TRIED: usize = 16;

/// Why DNS can't be served.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// Not an address, or a name that does not resolve.
    #[error("dns.listen \"{listen}\" is not an address such as \"127.0.0.1:8600\"")]
    Address {
        /// As it was given.
        listen: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The address can't be listened on.
    #[error(
        "dns.listen \"{listen}\" can't be listened on: choose another address or free the port"
    )]
    Listen {
        /// As it was given.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
}

/// The sockets of DNS, which answer once they are served, on whichever runtime that is.
#[derive(Debug)]
pub struct DnsListener {
    tcp: StdTcpListener,
    udp: Vec<StdUdpSocket>,
    address: SocketAddr,
}

/// Listens on `dns.listen`: with one socket for connections, and `threads` for datagrams.
///
/// # Errors
/// The address is not one, or is taken.
pub async fn bind(config: &Config, threads: usize) -> Result<DnsListener, DnsError> {
    let listen = &config.listen;
    let unknown = |source| DnsError::Address {
        listen: listen.clone(),
        source,
    };
    let mut addresses = lookup_host(listen).await.map_err(unknown)?;
    let none = || unknown(io::ErrorKind::NotFound.into());
    let wanted = addresses.next().ok_or_else(none)?;
    let mut tried = 0;
    loop {
        tried += 1;
        match bind_all(wanted, threads) {
            Ok(bound) => return Ok(bound),
            Err(_) if wanted.port() == 0 && tried < PORTS_TRIED => (),
            Err(source) => {
                return Err(DnsError::Listen {
                    listen: listen.clone(),
                    source,
                });
            }
        }
    }
}

fn bind_all(wanted: SocketAddr, threads: usize) -> io::Result<DnsListener> {
    let socket = match wanted {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(wanted)?;
    let tcp = socket.listen(BACKLOG)?.into_std()?;
    let address = tcp.local_addr()?;
    // Sockets that share a port do not notice another program that shares it too: this one does.
    drop(StdUdpSocket::bind(address)?);
    let udp = (0..threads.max(1)).map(|_| datagram_socket(address));
    Ok(DnsListener {
        udp: udp.collect::<io::Result<_>>()?,
        tcp,
        address,
    })
}

fn datagram_socket(address: SocketAddr) -> io::Result<StdUdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_reuse_port(true)?;
    // As much of it as the system allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl DnsListener {
    /// Where it listens; with port 0 in `dns.listen` the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Answers messages without a socket.
#[derive(Debug)]
pub struct DnsResponder {
    resolver: DnsResolver,
    buffer: AnswerBuffer,
}

impl DnsResponder {
    /// A responder that shows everything that is registered.
    pub fn new(config: &Config, catalog: Catalog) -> Self {
        let metrics = DnsMetrics::new(&Metrics::default());
        let address = Ipv4Addr::LOCALHOST.into();
        let sight = Some(Sight::All);
        Self {
            resolver: DnsResolver::new(config, "dc1", address, catalog, sight, metrics),
            buffer: AnswerBuffer::default(),
        }
    }

    /// The answer to a datagram; none for a message that gets none, or that another server is to be asked.
    pub fn datagram(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.respond(message, Carrier::Udp)
    }

    /// The answer to a message of a connection.
    pub fn message(&mut self, message: &[u8]) -> Option<&[u8]> {
        self.respond(message, Carrier::Tcp)
    }

    fn respond(&mut self, message: &[u8], over: Carrier) -> Option<&[u8]> {
        let handled = self.resolver.handle(message, over, &mut self.buffer);
        (handled == Handled::Answered).then_some(&*self.buffer.out)
    }
}

/// The DNS server.
#[derive(Debug)]
pub struct DnsDoor {
    listener: DnsListener,
    resolver: Arc<DnsResolver>,
    forwarder: Option<Arc<Forwarder>>,
    limits: StreamLimits,
    domain: String,
}

impl DnsDoor {
    /// Joins the sockets with what is answered. Without a sight nothing is answered that is registered.
    pub fn new(
        config: &Config,
        datacenter: &str,
        listener: DnsListener,
        catalog: Catalog,
        sight: Option<Sight>,
        metrics: &Metrics,
    ) -> Self {
        let metrics = DnsMetrics::new(metrics);
        let forwarder = Forwarder::new(
            config.recursors.clone(),
            config.recursor_timeout.get(),
            config.forwards_max.get(),
            metrics.clone(),
        );
        let address = listener.address.ip();
        let resolver = DnsResolver::new(config, datacenter, address, catalog, sight, metrics);
        Self {
            forwarder: (!config.recursors.is_empty()).then(|| Arc::new(forwarder)),
            resolver: Arc::new(resolver),
            listener,
            limits: StreamLimits {
                connections_max: config.connections_max.get(),
                per_address_max: config.connections_per_address_max.get(),
                idle: config.idle.get(),
                query_max: usize::try_from(config.query_max.as_u64()).unwrap_or(usize::MAX),
            },
            domain: config.domains.first().cloned().unwrap_or_default(),
        }
    }

    /// Serves until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        let mut parts = JoinSet::new();
        let registry = self.resolver.registry().clone();
        let index = self.resolver.index.clone();
        parts.spawn(index.run(registry, self.domain.clone(), stop.clone()));
        if let Err(error) = self.spawn_sockets(&mut parts, &stop) {
            tracing::error!(%error, "DNS can't be served: {error}");
            return;
        }
        // The first part that ends by itself ends all, and the daemon.
        let ended = parts.join_next().await;
        if let Some(Err(error)) = ended {
            tracing::error!("a part of DNS failed: {error}");
        }
        if stop.is_cancelled() {
            while parts.join_next().await.is_some() {}
        }
    }

    fn spawn_sockets(self, parts: &mut JoinSet<()>, stop: &CancellationToken) -> io::Result<()> {
        for socket in self.listener.udp {
            let server = DatagramServer {
                socket: Arc::new(UdpSocket::from_std(socket)?),
                resolver: Arc::clone(&self.resolver),
                forwarder: self.forwarder.clone(),
            };
            parts.spawn(server.run(stop.clone()));
        }
        let server = StreamServer {
            listener: TcpListener::from_std(self.listener.tcp)?,
            resolver: self.resolver,
            forwarder: self.forwarder,
            limits: self.limits,
        };
        parts.spawn(server.run(stop.clone()));
        Ok(())
    }
}
