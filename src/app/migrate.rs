//! Builds the migration and starts its tasks.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    canary::{CanaryClient, CanaryTarget},
    store::{Kept, StoreUnusable},
};
use crate::{
    config::Config,
    migration::{Migration, Needs},
    registry::Notices,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::{Callbacks, TransportSwitch},
};

/// The objects that the migration shares with other rooms.
type SharedParts<'a> = (
    &'a TransportSwitch,
    &'a Callbacks,
    &'a Arc<Notices>,
    &'a Metrics,
    &'a Kept,
);

/// Builds the migration and starts it, together with the canary's port. The migration runs on `runtime`,
/// whose threads the embedded broker does not use: so the broker can't delay its guard.
///
/// # Errors
/// The rows of an earlier run cannot be read.
pub(super) async fn start(
    config: &Config,
    (transports, callbacks, notices, metrics, kept): SharedParts<'_>,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<Arc<Migration>, StoreUnusable> {
    let target = match CanaryTarget::bind().await {
        Ok(target) => Some(target),
        Err(error) => {
            tracing::warn!(%error, "no port for the canary's probe: {error}");
            None
        }
    };
    let canary = CanaryClient {
        registry: transports.registry().clone(),
        callbacks: callbacks.clone(),
        transports: transports.clone(),
        address: target.as_ref().and_then(CanaryTarget::address),
        timeout: config.migration.canary_timeout.get(),
    };
    let needs = Needs {
        registry: transports.registry().clone(),
        transports: Arc::new(transports.clone()),
        canary: Arc::new(canary),
        first_probe_within: config.health.first_within.get(),
        metrics: metrics.clone(),
        notices: Arc::clone(notices),
        row: Arc::new(kept.rows.clone()),
    };
    let stored = kept.migration.as_deref();
    let migration = Migration::open(config.migration.clone(), needs, stored);
    let migration = migration.map_err(|error| kept.rows.unusable(error))?;
    if let Some(target) = target {
        tasks.spawn(Stage::Source, "canary", |stop| target.run(stop));
    }
    let runs = migration.clone();
    tasks.spawn_on(runtime, Stage::Source, "migration", |stop| runs.run(stop));
    Ok(Arc::new(migration))
}
