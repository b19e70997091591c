//! Leases on connections of the embedded broker end when the connection closes.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Caller, Catalog, Door};

/// Reports closed connections to the registry until `stop`: those that close because the daemon stops do not count.
pub(super) async fn report_closed(
    mut closed: mpsc::Receiver<u64>,
    catalog: Catalog,
    stop: CancellationToken,
) {
    loop {
        let connection = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            connection = closed.recv() => connection,
        };
        let Some(connection) = connection else {
            return stop.cancelled().await;
        };
        let caller = Caller::daemon(Door::Broker);
        let lost = catalog.close_connection(&caller, connection).await;
        let lost = lost.unwrap_or(0);
        if lost > 0 {
            tracing::info!(
                connection.id = connection,
                "connection {connection} closed: {lost} instances with leases on it are unhealthy"
            );
        }
    }
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
