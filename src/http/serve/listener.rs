//! Accepts connections of any number of listeners, a limited number at once, and ends them in order.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{HttpService, connection, encrypted, guarded, pipeline::Pipeline};
use crate::{api::Problem, http::answer::closing_answer, tls::ServerTls};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 4096;
/// The pause after an accept failed because files or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often the log says at most that clients are refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Why the server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Not an address, or a name that does not resolve.
    #[error("{key} \"{listen}\" is not an address such as \"127.0.0.1:8000\"")]
    Address {
        /// Of the configuration.
        key: &'static str,
        /// As it was given.
        listen: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The address can't be listened on.
    #[error("{key} \"{listen}\" can't be listened on: choose another address or free the port")]
    Listen {
        /// Of the configuration.
        key: &'static str,
        /// As it was given.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
}

/// A socket that accepts connections, which are answered once it is served, on whichever runtime that is.
#[derive(Debug)]
pub struct HttpListener {
    listener: std::net::TcpListener,
    local_addr: SocketAddr,
    tls: Option<ServerTls>,
}

/// Listens on an address that a key of the configuration gives.
///
/// # Errors
/// The address is not one, or is taken.
pub(in crate::http) async fn bind(
    key: &'static str,
    listen: &str,
) -> Result<HttpListener, BindError> {
    let unknown = |source| BindError::Address {
        key,
        listen: listen.to_owned(),
        source,
    };
    let taken = |source| BindError::Listen {
        key,
        listen: listen.to_owned(),
        source,
    };
    let mut addresses = lookup_host(listen).await.map_err(unknown)?;
    let none = || unknown(io::Error::from(io::ErrorKind::NotFound));
    let address = addresses.next().ok_or_else(none)?;
    let listener = listener(address).map_err(taken)?;
    let local_addr = listener.local_addr().map_err(taken)?;
    Ok(HttpListener {
        listener,
        local_addr,
        tls: None,
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

impl HttpListener {
    /// Where it listens; with port 0 in `http.listen` the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The same, with TLS.
    #[must_use]
    pub fn with_tls(self, tls: ServerTls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }
}

/// A listener that accepts.
struct OpenListener {
    listener: TcpListener,
    tls: Option<ServerTls>,
}

impl OpenListener {
    fn new(bound: HttpListener) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(bound.listener)?,
            tls: bound.tls,
        })
    }
}

/// Serves all listeners until `stop`; then streams end at once and requests under way are finished.
pub(in crate::http) async fn serve<S: HttpService>(
    listeners: Vec<HttpListener>,
    pipeline: Pipeline<S>,
    stop: CancellationToken,
) {
    let listeners = listeners.into_iter().map(OpenListener::new);
    let listeners = match listeners.collect::<io::Result<Vec<_>>>() {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!(%error, "HTTP can't be served: {error}");
            return;
        }
    };
    let pipeline = Arc::new(pipeline);
    let state = Arc::clone(&pipeline.serve);
    let mut connections = JoinSet::new();
    let (mut turn, mut logged) = (0, None);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => (),
            accepted = accept(&listeners, &mut turn) => match accepted {
                Ok((stream, peer, tls)) => {
                    if connections.len() >= state.limits.connections_max {
                        state.metrics.refused.inc();
                        // There is no time for a handshake.
                        if tls.is_none() {
                            refuse(&stream);
                        }
                        log_refused(&mut logged, connections.len());
                        continue;
                    }
                    let pipeline = Arc::clone(&pipeline);
                    match tls.cloned() {
                        None => {
                            let serving = connection::serve(stream, peer, pipeline);
                            connections.spawn(guarded("the connection", peer, serving));
                        }
                        Some(tls) => {
                            let serving = encrypted::serve(stream, peer, tls, pipeline);
                            connections.spawn(guarded("the connection", peer, serving));
                        }
                    }
                }
                Err(error) => pause_after(&error).await,
            },
        }
        let open = i64::try_from(connections.len()).unwrap_or(i64::MAX);
        state.metrics.connections.set(open);
    }
    drop(listeners);
    state.closing.cancel();
    state.upgraded.close();
    let finished = async {
        while connections.join_next().await.is_some() {}
        state.upgraded.wait().await;
    };
    if timeout(state.limits.drain, finished).await.is_err() {
        let left = connections.len();
        tracing::warn!(
            connections = left,
            "requests are cut off: they did not end within http.drain"
        );
        connections.shutdown().await;
    }
    state.metrics.connections.set(0);
}

/// The next connection of any listener; they take turns. Cancel safe.
async fn accept<'a>(
    listeners: &'a [OpenListener],
    turn: &mut usize,
) -> io::Result<(TcpStream, SocketAddr, Option<&'a ServerTls>)> {
    poll_fn(|cx| {
        for step in 0..listeners.len() {
            let at = (*turn + step) % listeners.len();
            let OpenListener { listener, tls } = &listeners[at];
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                *turn = at + 1;
                return Poll::Ready(accepted.map(|(stream, peer)| (stream, peer, tls.as_ref())));
            }
        }
        Poll::Pending
    })
    .await
}

/// Waits after a failed accept, unless only that one connection has failed.
async fn pause_after(error: &io::Error) {
    let of_one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    );
    if !of_one {
        tracing::warn!(%error, "a connection could not be accepted; the next attempt is in 0.1 s");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

fn log_refused(logged: &mut Option<Instant>, connections: usize) {
    if logged.is_none_or(|at| at.elapsed() >= REFUSED_PAUSE) {
        *logged = Some(Instant::now());
        tracing::warn!(
            connections,
            "new connections are refused with 503: http.connections_max is reached"
        );
    }
}

/// Sends a refusal, as far as that is possible without waiting.
fn refuse(stream: &TcpStream) {
    let problem = Problem::new(503, "there are too many connections (http.connections_max)");
    // Whether it can be written or not, the connection is closed.
    let _ = stream.try_write(&closing_answer(&problem));
}
