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
