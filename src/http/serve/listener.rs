//! Accepts connections, a limited number at once, and ends them in good order.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{connection, pipeline::Pipeline};
use crate::{
    api::Problem,
    http::{answer::closing_answer, config::Config, rest::gateway, state::HttpApp},
};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// The pause after an accept failed for want of files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the log says at most that clients are refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Why the door can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address can't be found out.
    #[error("http.listen \"{listen}\" is not an address such as \"127.0.0.1:8000\"")]
    Address {
        /// As it was given.
        listen: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address can't be listened on.
    #[error(
        "http.listen \"{listen}\" can't be listened on: choose another address or free the port"
    )]
    Listen {
        /// As it was given.
        listen: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A door that is open: clients connect, and are served once `serve` runs, on whichever runtime does.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
}

/// Listens on `http.listen`.
///
/// # Errors
/// The address is not one, or is taken.
pub async fn bind(config: &Config) -> Result<Bound, BindError> {
    let listen = || config.listen.clone();
    let addresses = lookup_host(&config.listen).await;
    let mut addresses = addresses.map_err(|source| BindError::Address {
        listen: listen(),
        source,
    })?;
    let address = addresses.next().ok_or_else(|| BindError::Address {
        listen: listen(),
        source: io::Error::from(io::ErrorKind::NotFound),
    })?;
    let listener = listener(address).map_err(|source| BindError::Listen {
        listen: listen(),
        source,
    })?;
    let local_addr = listener.local_addr().map_err(|source| BindError::Listen {
        listen: listen(),
        source,
    })?;
    Ok(Bound {
        listener,
        local_addr,
    })
}

fn listener(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

impl Bound {
    /// Where it listens; with port 0 in `http.listen` the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until told to stop; then streams end at once and requests under way are finished.
    pub async fn serve(self, door: HttpApp, stop: CancellationToken) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the HTTP door can't be served: {error}");
                return;
            }
        };
        let shared = door.shared;
        let front = Arc::new(Pipeline::new(shared.clone()));
        let mut connections = JoinSet::new();
        let mut told = None;
        shared.upgraded.spawn(gateway::follow(shared.clone()));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if connections.len() >= shared.config.connections_max.get() {
                            shared.measures.refused.inc();
                            refuse(&stream);
                            tell_of_refused(&mut told, connections.len());
                            continue;
                        }
                        let front = Arc::clone(&front);
                        let served = connection::serve(stream, peer, front, shared.clone());
                        connections.spawn(served);
                    }
                    Err(error) => pause_after(&error).await,
                },
            }
            shared
                .measures
                .connections
                .set(i64::try_from(connections.len()).unwrap_or(i64::MAX));
        }
        drop(listener);
        shared.closing.cancel();
        shared.upgraded.close();
        let finished = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
            shared.upgraded.wait().await;
        };
        if timeout(shared.config.drain.get(), finished).await.is_err() {
            let left = connections.len();
            tracing::warn!(
                connections = left,
                "{left} requests are cut off: they did not end within http.drain"
            );
            connections.shutdown().await;
        }
        shared.measures.connections.set(0);
    }
}

/// A connection that failed has dealt with it; a panic outside of a request is a fault of ours.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended abnormally");
    }
}

/// One connection that went away while it waited says nothing of the others; want of files does.
async fn pause_after(error: &io::Error) {
    let of_one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_one {
        tracing::warn!(%error, "a connection could not be accepted: {error}; trying on");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn tell_of_refused(told: &mut Option<Instant>, connections: usize) {
    if told.is_none_or(|at| at.elapsed() >= REFUSED_PAUSE) {
        *told = Some(Instant::now());
        tracing::warn!(
            connections,
            "clients are refused with 503: there are {connections} connections, raise http.connections_max"
        );
    }
}

/// Tells a client that there is no room, as far as that is possible without waiting for it.
fn refuse(stream: &TcpStream) {
    let problem = Problem::new(503, "there are too many connections (http.connections_max)");
    // A client that can't be told is refused all the same.
    let _ = stream.try_write(&closing_answer(&problem));
}
