//! The ports, implemented with the rooms that can do what they ask.

use super::transport::TransportPort;
use crate::{
    api::{CheckReport, HealthReport, ProbeOutcome, Ready, WatcherDraft, WatcherShape},
    broker::Broker,
    health::{self, Health},
    model::Cursor,
    ports::{Boxed, Connections, Probes, Readiness, WatcherError, Watchers},
    registry::Registry,
    transport::{Start, TransportError, WatcherInfo, Webhooks},
};

/// Probes, by the room health.
#[derive(Debug)]
pub(super) struct HealthPort(pub(super) Health);

impl Probes for HealthPort {
    fn check_now<'a>(&'a self, id: &'a str) -> Boxed<'a, Option<HealthReport>> {
        Box::pin(async move { self.0.check_now(id).await.map(health_report) })
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        self.0.report(id).map(health_report)
    }
}

fn health_report(report: health::Report) -> HealthReport {
    HealthReport {
        service_id: report.service_id.as_str().into(),
        status: report.status,
        checks: report.checks.into_iter().map(check_report).collect(),
    }
}

fn check_report(check: health::CheckReport) -> CheckReport {
    CheckReport {
        name: check.name,
        kind: check.kind,
        status: check.status,
        since: Some(check.since),
        flapping: check.flapping,
        results: check.results.into_iter().map(probe_outcome).collect(),
    }
}

fn probe_outcome(result: health::ProbeResult) -> ProbeOutcome {
    ProbeOutcome {
        at: result.at,
        passed: result.outcome == health::Outcome::Passed,
        latency_ms: result.latency.as_secs_f64() * 1000.0,
        message: result.text,
    }
}

/// Webhooks, by the room transport.
#[derive(Debug)]
pub(super) struct WebhookPort(pub(super) Webhooks);

impl Watchers for WebhookPort {
    fn add(&self, draft: WatcherDraft, from: Option<Cursor>) -> Result<WatcherShape, WatcherError> {
        let start = from.map_or(Start::Newest, Start::After);
        match self.0.add(draft, start) {
            Ok(info) => Ok(shape(info)),
            Err(TransportError::Full { max, .. }) => Err(WatcherError::Full { max }),
            Err(TransportError::Stopping) => Err(WatcherError::Stopping),
            Err(error @ TransportError::Url(_)) => Err(WatcherError::Url(super::chain(&error))),
        }
    }

    fn list(&self) -> Vec<WatcherShape> {
        self.0.list().into_iter().map(shape).collect()
    }

    fn find(&self, id: &str) -> Option<WatcherShape> {
        self.0.find(id).map(shape)
    }

    fn remove(&self, id: &str) -> bool {
        self.0.remove(id)
    }
}

fn shape(info: WatcherInfo) -> WatcherShape {
    WatcherShape {
        id: info.id.to_string().into(),
        state: info.state(),
        service_name: info.filter.service,
        callback_url: info.callback_url,
        events: info.filter.kinds,
        signed: info.signed,
        canary: !info.filter.without_canary,
        created_at: info.created_at,
        cursor: info.cursor.to_string(),
        lag: info.lag,
        delivered: info.record.delivered,
        failed: info.record.failed,
        last_error: info.record.last_error.map(|error| error.to_string()),
    }
}

/// Readiness: the registry is in memory, so it is ready when it answers at all.
#[derive(Debug)]
pub(super) struct ReadyPort {
    pub(super) registry: Registry,
    pub(super) transports: TransportPort,
}

impl Readiness for ReadyPort {
    fn parts(&self) -> Vec<Ready> {
        let counts = self.registry.counts();
        let registry = Ready {
            name: "registry",
            ok: true,
            detail: format!(
                "instances: {}, services: {}",
                counts.instances, counts.services
            ),
        };
        vec![registry, self.transports.ready()]
    }
}

/// The connections of the embedded broker.
#[derive(Debug)]
pub(super) struct BrokerConnections(pub(super) Broker);

impl Connections for BrokerConnections {
    fn is_open(&self, connection: u64) -> bool {
        self.0.is_connected(connection)
    }
}
