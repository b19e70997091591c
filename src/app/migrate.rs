//! Builds the migration and starts its tasks.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    canary::{CanaryClient, CanaryTarget},
    transport::TransportSwitch,
};
use crate::{
    config::Config,
    migration::{Migration, Needs},
    registry::{Notices, Registry},
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::Callbacks,
};

/// What the migration needs.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) registry: &'a Registry,
    pub(super) callbacks: &'a Callbacks,
    pub(super) transports: &'a TransportSwitch,
    /// The notices of the daemon.
    pub(super) notices: &'a Arc<Notices>,
    pub(super) metrics: &'a Metrics,
}

impl<'a> Parts<'a> {
    pub(super) fn of(
        registry: &'a Registry,
        callbacks: &'a Callbacks,
        transports: &'a TransportSwitch,
        notices: &'a Arc<Notices>,
        metrics: &'a Metrics,
    ) -> Self {
        Self {
            registry,
            callbacks,
            transports,
            notices,
            metrics,
        }
    }
}

/// Builds the migration and starts it, together with the canary's port. The migration runs on `runtime`,
/// whose threads the embedded broker does not use: so the broker can't delay its guard.
pub(super) async fn start(
    config: &Config,
    parts: Parts<'_>,
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
        registry: parts.registry.clone(),
        callbacks: parts.callbacks.clone(),
        transports: parts.transports.clone(),
        address: target.as_ref().and_then(CanaryTarget::address),
        timeout: config.migration.canary_timeout.get(),
    };
    let needs = Needs {
        registry: parts.registry.clone(),
        transports: Arc::new(parts.transports.clone()),
        canary: Arc::new(canary),
        first_probe_within: config.health.first_within.get(),
        metrics: parts.metrics.clone(),
        notices: Arc::clone(parts.notices),
    };
    let migration = Migration::new(config.migration.clone(), needs);
    if let Some(target) = target {
        tasks.spawn(Stage::Source, "canary", |stop| target.run(stop));
    }
    let runs = migration.clone();
    tasks.spawn_on(runtime, Stage::Source, "migration", |stop| runs.run(stop));
    Arc::new(migration)
}
