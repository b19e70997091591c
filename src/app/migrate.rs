//! The migration's wiring: what it is given, and the tasks it runs in.

use std::sync::Arc;

use super::{
    canary::{CanaryPort, Perch},
    transport::TransportPort,
};
use crate::{
    config::Config,
    migration::{Migration, Needs, NoticeRing},
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
    pub(super) transports: &'a TransportPort,
    pub(super) metrics: &'a Metrics,
}

impl<'a> Parts<'a> {
    pub(super) fn of(
        config: &'a Config,
        registry: &'a Registry,
        callbacks: &'a Callbacks,
        transports: &'a TransportPort,
        metrics: &'a Metrics,
    ) -> Self {
        Self {
            config,
            registry,
            callbacks,
            transports,
            metrics,
        }
    }
}

/// Builds the migration and starts it, with what its canary is probed at. Answers with it and with what
/// it tells everybody.
pub(super) async fn start(
    parts: Parts<'_>,
    tasks: &mut Tasks,
) -> (Arc<Migration>, Arc<NoticeRing>) {
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
        transports: parts.transports.clone(),
        address: perch.as_ref().and_then(Perch::address),
        timeout: parts.config.migration.canary_timeout,
    };
    let config = parts.config.migration.clone();
    let notices = NoticeRing::new(parts.registry.clone(), config.notices_max);
    let notices = Arc::new(notices);
    let needs = Needs {
        registry: parts.registry.clone(),
        transports: Arc::new(parts.transports.clone()),
        canary: Arc::new(canary),
        first_probe_within: parts.config.health.first_within,
        metrics: parts.metrics.clone(),
        notices: Arc::clone(&notices),
    };
    let migration = Migration::new(config, needs);
    if let Some(perch) = perch {
        tasks.spawn(Stage::Source, "canary", |stop| perch.run(stop));
    }
    let runs = migration.clone();
    tasks.spawn(Stage::Source, "migration", |stop| runs.run(stop));
    (Arc::new(migration), notices)
}
