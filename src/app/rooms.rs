//! The traits of http, implemented for the rooms that do the work.

use futures_util::future::BoxFuture;

use crate::{
    api::{
        CheckReport, HealthReport, MigrationDraft, MigrationRefusal, MigrationReport, ProbeOutcome,
        WatcherDraft, WatcherShape,
    },
    health::{self, Health},
    http::{Migrations, Probes, WatcherError, Watchers},
    migration::Migration,
    model::Cursor,
    transport::{Start, TransportError, WatcherInfo, Webhooks},
};

impl Probes for Health {
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>> {
        Box::pin(async move { self.check_now(id).await.map(health_report) })
    }

    fn report(&self, id: &str) -> Option<HealthReport> {
        self.report(id).map(health_report)
    }
}

fn health_report(report: health::Report) -> HealthReport {
    HealthReport {
        service_id: report.service_id.as_str().into(),
        status: report.status,
        checks: report.checks.into_iter().map(check_report).collect(),
    }
}

fn check_report(check: health::CheckHealth) -> CheckReport {
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

impl Watchers for Webhooks {
    fn add(&self, draft: WatcherDraft, from: Option<Cursor>) -> Result<WatcherShape, WatcherError> {
        let start = from.map_or(Start::Newest, Start::After);
        let added = self.add(draft, start).map_err(|error| {
            let text = super::chain(&error);
            match error {
                TransportError::Full { .. } => WatcherError::Full(text),
                TransportError::Stopping => WatcherError::Stopping(text),
                TransportError::Url(_) => WatcherError::Url(text),
            }
        });
        added.map(shape)
    }

    fn list(&self) -> Vec<WatcherShape> {
        self.list().into_iter().map(shape).collect()
    }

    fn find(&self, id: &str) -> Option<WatcherShape> {
        self.find(id).map(shape)
    }

    fn remove(&self, id: &str) -> bool {
        self.remove(id)
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

impl Migrations for Migration {
    fn report(&self) -> MigrationReport {
        self.report()
    }

    fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal> {
        self.ask(draft)
    }
}
