//! The asynchronous part around the table: follows the registry, probes, and reports verdicts.

mod on_request;
mod probes;
mod remote_requests;
mod reports;

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use self::{
    on_request::OnRequest,
    probes::{InFlightGauge, RunningProbes},
    remote_requests::RemoteRequests,
};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    meters::HealthMetrics,
    probe::{self, ProbeLimits},
    remote::RemoteProber,
    table::{CheckTable, CheckView, Due, FinishedProbe, Judgement, ScheduledProbe, StoredResult},
};
use crate::{
    api::{CheckReport, HealthReport, ProbeResult},
    catalog::{Caller, Catalog, Door, Observe},
    model::{Event, EventKind, Instance, Registration, Revision, Status},
    outbound::{Client, Shares},
    registry::{Registry, Reservation},
    telemetry::Metrics,
};

/// The caller of all writes by health checks.
const CALLER: Caller = Caller::daemon(Door::Health);

/// Events read from the log at once.
const EVENTS_AT_ONCE: usize = 1024;

/// What a check takes in the table, in bytes: its state in a map (300), its due time (60), ten results (400) and their
/// texts (240), by the sizes of their types.
pub(super) const CHECK_BYTES: usize = 1000;

/// A cheap, cloneable handle to the health scheduler.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<Scheduler>,
}

#[derive(Debug)]
struct Scheduler {
    config: Config,
    limits: ProbeLimits,
    registry: Registry,
    catalog: Catalog,
    client: Client,
    meters: HealthMetrics,
    on_request: OnRequest,
    /// Remote probers, if the transport has a broker.
    remote_probers: OnceLock<Arc<dyn RemoteProber>>,
    remote_requests: RemoteRequests,
    /// Held for map work and the registry's own short lock only, never across an await.
    following: Mutex<FollowedLog>,
}

#[derive(Debug)]
struct FollowedLog {
    table: CheckTable,
    /// The last event read; none before the first snapshot.
    cursor: Option<Revision>,
    /// What the table counts towards `registry.memory_max`, and for how many checks.
    memory: Option<(usize, Reservation)>,
}

impl FollowedLog {
    /// Counts the table's memory again when the number of checks has changed.
    fn count_memory(&mut self, registry: &Registry) {
        let checks = self.table.sizes().checks;
        if self.memory.as_ref().map_or(0, |(counted, _)| *counted) != checks {
            let bytes = checks * CHECK_BYTES;
            self.memory = Some((checks, registry.reserve_beyond(bytes)));
        }
    }
}

impl Health {
    /// A scheduler that has not read the registry yet.
    pub fn new(config: Config, registry: Registry, client: Client, metrics: &Metrics) -> Self {
        let following = FollowedLog {
            table: CheckTable::new(config, fastrand::Rng::new()),
            cursor: None,
            memory: None,
        };
        let shared = Scheduler {
            limits: ProbeLimits::of(&config),
            catalog: Catalog::new(registry.clone()),
            registry,
            client,
            meters: HealthMetrics::new(metrics),
            on_request: OnRequest::new(config.asked_max.get()),
            remote_probers: OnceLock::new(),
            remote_requests: RemoteRequests::new(&config, metrics),
            following: Mutex::new(following),
            config,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Probes what is due until `stop`; all probes have ended when it returns.
    pub async fn run(self, stop: CancellationToken) {
        let shared = &self.shared;
        let mut changes = shared.registry.follow();
        let mut probes = RunningProbes::new(shared.config.probes_max.get());
        loop {
            changes.mark_unchanged();
            let wake = shared.start_due(&mut probes);
            tokio::select! {
                () = stop.cancelled() => break,
                // The scheduler holds the registry.
                _ = changes.changed() => (),
                () = probes.ended() => (),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => (),
            }
        }
        probes.stop().await;
    }

    /// Probes an instance now, and returns when its verdict is in effect. None when the id is unknown.
    ///
    /// Counts like any other probe: one failure need not be enough for a verdict. While a request for the
    /// same instance is under way, another one waits for that one instead of probing again.
    pub async fn check_now(&self, id: &str) -> Option<HealthReport> {
        self.shared.on_request.once(id, || self.check_all(id)).await;
        self.report(id)
    }

    async fn check_all(&self, id: &str) {
        let shared = &self.shared;
        let mut probes = Vec::new();
        {
            let mut following = shared.followed();
            let now_ms = shared.now_ms();
            for judgement in following.table.take_all(id, now_ms, &mut probes) {
                shared.report_judgement(&judgement);
            }
            shared.show_checks(&mut following);
        }
        join_all(
            probes
                .iter()
                .map(|scheduled| shared.probe_on_request(scheduled)),
        )
        .await;
    }

    /// The report about the checks of an instance. None when the id is unknown.
    pub fn report(&self, id: &str) -> Option<HealthReport> {
        let shared = &self.shared;
        let following = shared.followed();
        let instance = shared.registry.instance(id)?;
        let checks = match following.table.kept(id) {
            Some((of, kept)) => kept.iter().map(|kept| shared.shown(&of, kept)).collect(),
            None => Vec::new(),
        };
        Some(HealthReport {
            service_id: instance.id().clone(),
            status: instance.status(),
            timestamp: shared.registry.clock().now().wall,
            checks,
        })
    }
}

impl Scheduler {
    fn now_ms(&self) -> u64 {
        self.registry.clock().now().mono_ms
    }

    /// The table after all events of the log.
    fn followed(&self) -> parking_lot::MutexGuard<'_, FollowedLog> {
        let mut following = self.following.lock();
        self.follow(&mut following);
        following
    }

    fn follow(&self, following: &mut FollowedLog) {
        while following.cursor != Some(self.registry.newest()) {
            let events = following
                .cursor
                .map(|cursor| self.registry.since(cursor, EVENTS_AT_ONCE));
            let Some(Ok(events)) = events else {
                self.restart_from_snapshot(following);
                continue;
            };
            let Some(last) = events.last() else {
                return;
            };
            following.cursor = Some(last.revision);
            let now_ms = self.now_ms();
            for event in &events {
                if let Some(judgement) = take(&mut following.table, event, now_ms) {
                    self.report_judgement(&judgement);
                }
            }
            self.show_checks(following);
        }
    }

    /// Starts over from a snapshot: at the start, or when events were dropped from the log.
    fn restart_from_snapshot(&self, following: &mut FollowedLog) {
        let snapshot = self.registry.snapshot();
        let now_ms = self.now_ms();
        let mut present = HashSet::new();
        for (_, view) in &snapshot.services {
            for instance in view.instances.values() {
                present.insert(instance.id().clone());
                let revision = instance.revision;
                if let Some(judgement) = following.table.observe(instance, revision, now_ms) {
                    self.report_judgement(&judgement);
                }
            }
        }
        following.table.retain(&present);
        following.cursor = Some(snapshot.revision);
        self.show_checks(following);
    }

    /// Starts what is due while places are free. Returns when to look again; none when only the end
    /// of a probe or a change of the registry can bring work.
    fn start_due(self: &Arc<Self>, probes: &mut RunningProbes) -> Option<Instant> {
        let mut due = Vec::new();
        let next_ms = self.take_due(probes.free(), &mut due);
        if let Some(remote) = self.remote_probers.get() {
            self.sweep(&**remote, self.now_ms());
        }
        // Not under the lock: a probe that ends takes it.
        for scheduled in due {
            probes.start(self, scheduled);
        }
        let next_ms = next_ms.filter(|_| probes.free().all > 0)?;
        Some(self.registry.clock().instant_of(next_ms))
    }

    fn take_due(&self, mut free: Shares, due: &mut Vec<ScheduledProbe>) -> Option<u64> {
        let mut following = self.followed();
        let now_ms = self.now_ms();
        while free.all > 0 {
            match following.table.take_due(now_ms, &free) {
                Some(Due::Probe(scheduled)) => {
                    free.take(scheduled.pace);
                    due.push(scheduled);
                }
                Some(Due::Looked { outcome, judgement }) => {
                    self.meters.count("ttl", outcome);
                    if let Some(judgement) = judgement {
                        self.report_judgement(&judgement);
                    }
                }
                None => break,
            }
        }
        while let Some(removal) = following.table.take_removal(now_ms) {
            self.remove_critical(removal);
        }
        self.show_checks(&mut following);
        self.meters.show(following.table.sizes());
        following.count_memory(&self.registry);
        following.table.next_due()
    }

    async fn probe_on_request(&self, scheduled: &ScheduledProbe) {
        let _place = self.on_request.places().enter(scheduled.pace).await;
        let ended = self.probe_by_mode(scheduled).await;
        self.judge(&mut self.following.lock(), scheduled, ended);
    }

    async fn probe(&self, scheduled: &ScheduledProbe) -> FinishedProbe {
        let began_ms = self.now_ms();
        let began = Instant::now();
        let _in_flight = InFlightGauge::new(&self.meters);
        let (outcome, text) = match scheduled.source.alias(&scheduled.of) {
            Some(id) => self.alias(id),
            None => {
                let kind = scheduled.source.kind(&scheduled.of);
                probe::run(&self.client, kind, scheduled.timeout, self.limits).await
            }
        };
        let latency = began.elapsed();
        self.meters.duration.observe(latency.as_secs_f64());
        self.meters
            .count(scheduled.source.kind_name(&scheduled.of), outcome);
        FinishedProbe {
            outcome,
            began_ms,
            at_ms: self.now_ms(),
            latency,
            text,
        }
    }

    /// Records the outcome of a probe and reports a changed verdict.
    fn judge(&self, following: &mut FollowedLog, scheduled: &ScheduledProbe, ended: FinishedProbe) {
        if ended.outcome.is_pass() {
            self.catalog.check_passed(&CALLER, &scheduled.of);
        }
        if let Some(judgement) = following.table.record(scheduled.check, ended) {
            self.report_judgement(&judgement);
        }
        self.show_checks(following);
    }

    /// Called under the table's lock, so that judgements reach the registry in order.
    fn report_judgement(&self, judgement: &Judgement) {
        let reason = judgement.reason.as_deref();
        let Judgement { of, status, .. } = judgement;
        let id = of.service_id.as_str();
        let status_of = |instance: Arc<Instance>| instance.status();
        let before = self.registry.instance(id).map(status_of);
        let observe = Observe {
            registration: Arc::clone(of),
            observed: *status,
            reason: reason.map(Into::into),
        };
        let written = self.catalog.write(&CALLER, observe).now();
        if written != Some(Ok(true)) {
            return;
        }
        let after = self.registry.instance(id).map(status_of);
        log_change(id, before, after, reason.unwrap_or_default());
    }

    fn shown(&self, of: &Registration, kept: &CheckView<'_>) -> CheckReport {
        let clock = self.registry.clock();
        let results = kept.results.iter().rev().map(|noted| ProbeResult {
            at: clock.wall_of(noted.at_ms),
            passed: noted.outcome.is_pass(),
            latency: noted.latency(),
            message: noted.text.as_ref().into(),
        });
        let is_ttl = kept.source.is_ttl(of);
        let latency = kept.results.back().filter(|_| !is_ttl);
        CheckReport {
            name: kept.source.name(of).into(),
            kind: kept.kind,
            status: match kept.verdict.says() {
                None => Status::Starting,
                Some(true) => Status::Healthy,
                Some(false) => Status::Unhealthy,
            },
            since: clock.wall_of(kept.verdict.since_ms()),
            latency: latency.map(StoredResult::latency),
            warning: kept.is_warning,
            flapping: kept.verdict.is_flapping(),
            results: results.collect(),
        }
    }
}

/// Applies an event of the registry to the table.
fn take(table: &mut CheckTable, event: &Event, now_ms: u64) -> Option<Judgement> {
    let instance = event.instance.as_ref()?;
    match event.kind {
        EventKind::Deregistered | EventKind::Expired => {
            table.forget(instance.id().as_str(), event.revision);
            None
        }
        _ => table.observe(instance, event.revision, now_ms),
    }
}

/// Logs a change of the effective status, once; what the checks say beside it is for debugging.
fn log_change(id: &str, before: Option<Status>, after: Option<Status>, reason: &str) {
    match after {
        Some(status) if before == Some(status) => {
            tracing::debug!(service.id = id, "\"{id}\" stays {status}: {reason}");
        }
        Some(Status::Unhealthy) => {
            tracing::info!(service.id = id, "instance \"{id}\" is unhealthy: {reason}");
        }
        Some(status) if before == Some(Status::Unhealthy) => {
            tracing::info!(service.id = id, "instance \"{id}\" is {status} again");
        }
        Some(status) => tracing::debug!(service.id = id, "instance \"{id}\" is {status}"),
        None => (),
    }
}
