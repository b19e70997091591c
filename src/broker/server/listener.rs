//! One listening socket, plain or encrypted.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BrokerError, Shared, arrival};
use crate::{
    broker::tls::{self, UserFrom},
    tls::TlsError,
};

/// How long the listener rests after an error that is not a client's.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How encrypted connections begin: replaced when the certificates are reloaded.
#[derive(Clone)]
pub(super) struct Encryption {
    pub(super) acceptor: TlsAcceptor,
    /// Which part of a client's certificate names the user.
    pub(super) user_from: UserFrom,
    /// When the server's certificate ends, in seconds since 1970.
    pub(super) certificate_end: u64,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption")
            .field("user_from", &self.user_from)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// Reads the certificates, if there is an encrypted listener.
    pub(super) fn read(config: &tls::Config) -> Result<Option<Self>, TlsError> {
        if config.listen.is_empty() {
            return Ok(None);
        }
        let (server, certificate_end) = config.files()?.server()?;
        Ok(Some(Self {
            acceptor: TlsAcceptor::from(server),
            user_from: config.user_from,
            certificate_end,
        }))
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    tls: bool,
}

impl Listener {
    pub(super) async fn plain(address: SocketAddr) -> Result<Self, BrokerError> {
        Self::bind(address, false).await
    }

    pub(super) async fn tls(address: SocketAddr) -> Result<Self, BrokerError> {
        Self::bind(address, true).await
    }

    async fn bind(address: SocketAddr, tls: bool) -> Result<Self, BrokerError> {
        let bound = TcpListener::bind(address).await;
        let socket = bound.map_err(|source| BrokerError::Listen { address, source })?;
        Ok(Self { socket, tls })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Accepts clients until `stop`.
    pub(super) async fn serve(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, address)) => {
                    let arrival = arrival::Arrival {
                        id: shared.next_connection(),
                        socket,
                        address,
                        tls: self.tls,
                    };
                    tasks.spawn(arrival::run(Arc::clone(&shared), arrival, stop.clone()));
                }
                Err(error) => pause(&shared, error).await,
            }
        }
    }
}

/// Mostly too many open files: others have to be closed first.
async fn pause(shared: &Shared, error: io::Error) {
    let refused = &shared.log.refused;
    refused.warn(format_args!("cannot accept a connection: {error}"));
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
