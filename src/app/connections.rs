//! Serves the embedded broker. Leases on its connections end when the connection closes.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    broker::Listening,
    catalog::{Caller, Catalog, Door},
    registry::{Refusal, Registry},
    tasks::{Stage, Tasks},
};

/// The pause before a refused change is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves the broker, if it is switched on; the addresses without and with TLS.
pub(super) fn serve_broker(
    listening: Option<Listening>,
    registry: &Registry,
    tasks: &mut Tasks,
) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let Some(listening) = listening else {
        return (None, None);
    };
    if let Some(closed) = listening.broker().closed_connections() {
        let catalog = Catalog::new(registry.clone());
        tasks.spawn(Stage::Source, "closed connections", |stop| {
            report_closed(closed, catalog, stop)
        });
    }
    let broker = listening.broker();
    tasks.spawn(Stage::Source, "messages", async move |stop| {
        tokio::select! {
            () = stop.cancelled() => (),
            why = broker.store_failed() => {
                tracing::error!("{why}: it is unknown what is durable, so the daemon stops");
            }
        }
    });
    let addresses = (listening.address(), listening.tls_address());
    tasks.spawn(Stage::Sink, "broker", |stop| listening.serve(stop));
    addresses
}

/// Reports closed connections to the registry until `stop`: those that close because the daemon stops do not count.
pub(super) async fn report_closed(
    mut closed: mpsc::Receiver<u64>,
    catalog: Catalog,
    stop: CancellationToken,
) {
    // Connections whose leases could not be ended, because the disk is full as a rule. The registry refuses no
    // connection without leases, so there are at most as many as instances.
    let mut refused = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            connection = closed.recv() => match connection {
                Some(connection) => {
                    if end_leases(&catalog, connection).await.is_err() {
                        refused.insert(connection);
                    }
                }
                None => return stop.cancelled().await,
            },
            () = sleep(PAUSE), if !refused.is_empty() => {
                while let Some(connection) = refused.pop_first() {
                    if end_leases(&catalog, connection).await.is_err() {
                        refused.insert(connection);
                        break;
                    }
                }
            }
        }
    }
}

async fn end_leases(catalog: &Catalog, connection: u64) -> Result<(), Refusal> {
    let caller = Caller::daemon(Door::Broker);
    let lost = catalog.close_connection(&caller, connection).await;
    let lost = lost.inspect_err(|refusal| {
        tracing::warn!(
            connection.id = connection,
            "connection {connection} closed, and its leases cannot be ended yet: {refusal}"
        );
    })?;
    if lost > 0 {
        tracing::info!(
            connection.id = connection,
            "connection {connection} closed: {lost} instances with leases on it are unhealthy"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::report_closed;
    use crate::{
        catalog::{Catalog, Door, Operation, take_judged},
        registry::{Config, Registry},
    };

    #[tokio::test]
    async fn a_closed_connection_is_judged_once() {
        let (tx, closed) = mpsc::channel(1);
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let catalog = Catalog::new(Registry::new(Config::default()));
        take_judged();
        let tell = async {
            tx.send(7).await.unwrap();
            // There is room again when the first was taken.
            drop(tx.reserve().await.unwrap());
            tokio::task::yield_now().await;
            stop.cancel();
            stopped.cancelled().await;
        };
        let report = async {
            report_closed(closed, catalog, stop.clone()).await;
            stopped.cancel();
        };
        tokio::join!(report, tell);
        assert_eq!(take_judged(), [(Door::Broker, Operation::CloseConnection)]);
    }
}
