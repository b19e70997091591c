//! The store while the disk is full: what is reported, and what is done when there is space again.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::{registry::Registry, store::Store};

/// How often a full disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reports when the disk is full and when it has space again, until `stop`. Ends when the store fails.
pub(super) async fn watch(store: Store, stop: CancellationToken) {
    let (mut failure, mut is_full) = (store.failure(), false);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            failed = failure.wait_for(Option::is_some) => {
                let why = failed.ok().and_then(|why| why.clone()).unwrap_or_default();
                return tracing::error!("{why}: it is unknown what is durable, so the daemon stops");
            }
            () = sleep(LOOK_EVERY) => {}
        }
        is_full = look(&store, is_full).await;
    }
}

/// Whether the disk is full now.
async fn look(store: &Store, was_full: bool) -> bool {
    let is_full = store.is_full();
    match (was_full, is_full) {
        (false, true) => tracing::warn!(
            "the disk of store.path is full: registrations and other changes get 507 until it has space again"
        ),
        (true, false) => {
            tracing::info!("the disk of store.path has space again: changes are committed");
        }
        _ => {}
    }
    if is_full {
        let store = store.clone();
        blocking(move || store.look_for_space()).await;
    }
    is_full
}

/// Ends the leases on connections of an earlier run as soon as the disk has space.
pub(super) async fn close_earlier_connections(registry: Registry, stop: CancellationToken) {
    tracing::warn!(
        "the disk is full: instances that were leased on AMQP connections of the earlier run stay healthy until it has space again"
    );
    while let Err(refusal) = registry.close_earlier_connections().await {
        tracing::debug!(%refusal, "leases on earlier connections are not ended yet");
        if stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_none() {
            return;
        }
    }
    stop.cancelled().await;
}
