//! The migration's wiring: what it is given, and the tasks it runs in.

use std::sync::Arc;

use super::canary::{CanaryPort, Perch, way};
use crate::{
    config::Config,
    migration::{Migration, Needs, NoticeRing},
    ports::Transports,
    registry::Registry,
    tasks::{Stage, Tasks},
    telemetry::Metrics,
    transport::Callbacks,
};

/// What the migration is made of.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) registry: &'a Registry,
    pub(super) callbacks: &'a Callbacks,
    pub(super) transports: Arc<dyn Transports>,
    pub(super) metrics: &'a Metrics,
    pub(super) notices: Arc<NoticeRing>,
}

/// Where the migration tells of what it does.
pub(super) fn notices(config: &Config, registry: &Registry) -> Arc<NoticeRing> {
    let max = config.migration.notices_max;
    Arc::new(NoticeRing::new(registry.clone(), max))
}

/// Builds the migration and starts it, and what its canary is probed at.
pub(super) async fn start(parts: Parts<'_>, tasks: &mut Tasks) -> Arc<Migration> {
    let perch = match Perch::bind().await {
        Ok(perch) => Some(perch),
        Err(error) => {
            tracing::warn!(%error, "the canary has no port to be probed at: {error}");
            None
        }
    };
    let canary = CanaryPort {
        registry: parts.registry.clone(),
        callbacks: parts.callbacks.clone(),
        address: perch.as_ref().and_then(Perch::address),
    };
    let needs = Needs {
        registry: parts.registry.clone(),
        transports: parts.transports,
        canary: way(canary),
        first_probe_within: parts.config.health.first_within,
        metrics: parts.metrics.clone(),
        notices: parts.notices,
    };
    let migration = Migration::new(parts.config.migration.clone(), needs);
    if let Some(perch) = perch {
        tasks.spawn(Stage::Source, "canary", |stop| perch.run(stop));
    }
    let runs = migration.clone();
    tasks.spawn(Stage::Source, "migration", |stop| runs.run(stop));
    Arc::new(migration)
}
