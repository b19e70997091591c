//! Where clients come in: one listening socket, plain or encrypted.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{BrokerError, Shared, arrival};
use crate::broker::tls::UserFrom;

/// How long the listener rests after an error that is not a client's.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How connections through the encrypted door begin.
#[derive(Clone)]
pub(super) struct Encryption {
    pub(super) acceptor: TlsAcceptor,
    /// Which part of a client's certificate names the user.
    pub(super) user_from: UserFrom,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryption")
            .field("user_from", &self.user_from)
            .finish_non_exhaustive()
    }
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    encryption: Option<Encryption>,
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BrokerError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| BrokerError::Listen { address, source })
}

impl Door {
    pub(super) async fn plain(address: SocketAddr) -> Result<Self, BrokerError> {
        Ok(Self {
            listener: listen(address).await?,
            encryption: None,
        })
    }

    pub(super) async fn tls(
        address: SocketAddr,
        server: Arc<rustls::ServerConfig>,
        user_from: UserFrom,
    ) -> Result<Self, BrokerError> {
        let encryption = Encryption {
            acceptor: TlsAcceptor::from(server),
            user_from,
        };
        Ok(Self {
            listener: listen(address).await?,
            encryption: Some(encryption),
        })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Lets clients in until `stop`.
    pub(super) async fn serve(
        self,
        shared: Arc<Shared>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, address)) => {
                    let Some(place) = shared
                        .registry
                        .place(shared.config.limits.connections.get())
                    else {
                        refuse(&shared, address);
                        continue;
                    };
                    let arrival = arrival::Arrival {
                        socket,
                        address,
                        encryption: self.encryption.clone(),
                        place,
                    };
                    tasks.spawn(arrival::run(Arc::clone(&shared), arrival, stop.clone()));
                }
                Err(error) => pause(&shared, error).await,
            }
        }
    }
}

fn refuse(shared: &Shared, address: SocketAddr) {
    let limit = shared.config.limits.connections;
    shared.refusals.warn(format_args!(
        "refused {address}: there are {limit} connections already, raise \
         broker.limits.connections"
    ));
}

/// Too many open files, mostly: others have to go before it can go on.
async fn pause(shared: &Shared, error: io::Error) {
    let refusals = &shared.refusals;
    refusals.warn(format_args!("cannot accept a connection: {error}"));
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
