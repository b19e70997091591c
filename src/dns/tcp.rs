//! Connections: messages with their length before them (RFC 7766), answered in the order in which they came.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    forward::{Forwarder, failure},
    metrics::Carrier,
    resolver::{DnsResolver, Handled},
    response::AnswerBuffer,
    udp::handle,
};

/// The pause after an accept failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What clients may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamLimits {
    pub(super) connections_max: usize,
    pub(super) per_address_max: usize,
    pub(super) idle: Duration,
    pub(super) query_max: usize,
}

/// Serves connections.
#[derive(Debug)]
pub(super) struct StreamServer {
    pub(super) listener: TcpListener,
    pub(super) resolver: Arc<DnsResolver>,
    pub(super) forwarder: Option<Arc<Forwarder>>,
    pub(super) limits: StreamLimits,
}

impl StreamServer {
    /// Serves until `stop`; connections end then too.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let places = Arc::new(Places::default());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {
                    self.count(connections.len());
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = match connections.len() < self.limits.connections_max {
                        true => Places::take(&places, peer, self.limits.per_address_max),
                        false => None,
                    };
                    let Some(place) = place else {
                        self.resolver.metrics.refused.inc();
                        continue;
                    };
                    let connection = StreamConnection {
                        stream: BufReader::new(stream),
                        resolver: Arc::clone(&self.resolver),
                        forwarder: self.forwarder.clone(),
                        limits: self.limits,
                    };
                    connections.spawn(async move {
                        // The client has closed it, was too slow, or sent something else.
                        let _ = connection.serve().await;
                        drop(place);
                    });
                    self.count(connections.len());
                }
                Err(error) => {
                    tracing::warn!(%error, "a DNS connection could not be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        connections.shutdown().await;
        self.count(0);
    }

    fn count(&self, connections: usize) {
        let count = i64::try_from(connections).unwrap_or(i64::MAX);
        self.resolver.metrics.connections.set(count);
    }
}

/// How many connections each address has.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// The place of one connection.
#[derive(Debug)]
struct StreamPlace {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(places: &Arc<Self>, peer: SocketAddr, max: usize) -> Option<StreamPlace> {
        let address = peer.ip();
        let mut table = places.0.lock();
        let count = table.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(table);
        Some(StreamPlace {
            places: Arc::clone(places),
            address,
        })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut table = self.places.0.lock();
        if let Some(count) = table.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.remove(&self.address);
            }
        }
    }
}

#[derive(Debug)]
struct StreamConnection {
    stream: BufReader<TcpStream>,
    resolver: Arc<DnsResolver>,
    forwarder: Option<Arc<Forwarder>>,
    limits: StreamLimits,
}

impl StreamConnection {
    async fn serve(mut self) -> io::Result<()> {
        let idle = self.limits.idle;
        let mut message = Vec::new();
        let mut buffer = AnswerBuffer::default();
        loop {
            timeout(idle, self.read(&mut message)).await??;
            match handle(&self.resolver, &message, Carrier::Tcp, &mut buffer) {
                // A client that sends no queries.
                Handled::Ignored => return Ok(()),
                Handled::Answered => (),
                handled => buffer.out = self.complete(&message, handled, buffer.out).await,
            }
            timeout(idle, self.write(&mut buffer.out)).await??;
        }
    }

    async fn complete(&self, message: &[u8], handled: Handled, answer: Vec<u8>) -> Vec<u8> {
        let (resolver, over) = (&self.resolver, Carrier::Tcp);
        match &self.forwarder {
            Some(forwarder) => {
                let completed = forwarder.complete(resolver, message, over, handled, answer);
                completed.await
            }
            None => failure(resolver, message, over),
        }
    }

    async fn read(&mut self, message: &mut Vec<u8>) -> io::Result<()> {
        let length = usize::from(self.stream.read_u16().await?);
        if length > self.limits.query_max {
            return Err(io::ErrorKind::InvalidData.into());
        }
        message.resize(length, 0);
        self.stream.read_exact(message).await?;
        Ok(())
    }

    /// Writes a message with its length before it, in one piece.
    async fn write(&mut self, message: &mut Vec<u8>) -> io::Result<()> {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        message.splice(..0, length.to_be_bytes());
        self.stream.get_mut().write_all(message).await
    }
}
