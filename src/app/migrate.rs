//! Builds the migration and starts its tasks.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::canary::{CanaryClient, CanaryTarget};
use crate::{
    config::Config,
    migration::{Migration, Needs},
    registry::Notices,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::{Callbacks, TransportSwitch},
};

/// What the migration shares with other rooms.
type SharedParts<'a> = (
    &'a TransportSwitch,
    &'a Callbacks,
    &'a Arc<Notices>,
    &'a Metrics,
);

/// Builds the migration and starts it, together with the canary's port. The migration runs on `runtime`,
/// whose threads the embedded broker does not use: so the broker can't delay its guard.
pub(super) async fn start(
    config: &Config,
    (transports, callbacks, notices, metrics): SharedParts<'_>,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Arc<Migration> {
    let target = match CanaryTarget::bind().await {
        Ok(target) => Some(target),
        Err(error) => {
            tracing::warn!(%error, "the canary has no port to be probed at: {error}");
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
    };
    let migration = Migration::new(config.migration.clone(), needs);
    if let Some(target) = target {
        tasks.spawn(Stage::Source, "canary", |stop| target.run(stop));
    }
    let runs = migration.clone();
    tasks.spawn_on(runtime, Stage::Source, "migration", |stop| runs.run(stop));
    Arc::new(migration)
}
