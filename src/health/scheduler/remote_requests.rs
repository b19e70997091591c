//! Probes over the queue: sends requests to remote probers and takes their verdicts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout_at};

use super::{Health, Scheduler};
use crate::{
    api::{CheckRequest, CheckVerdict},
    health::{
        Config,
        pending::{PendingRequests, RequestKey, RequestReply},
        probe::in_one_line,
        remote::{RemoteProber, RequestResult, VerdictUse},
        report::Outcome,
        table::{FinishedProbe, ScheduledProbe},
    },
    model::Mode,
    telemetry::{IntCounterVec, IntGauge, Metrics},
};

/// All requests must be answered for this long before the log says so.
const CALM_MS: u64 = 10_000;

/// The requests to remote probers.
#[derive(Debug)]
pub(super) struct RemoteRequests {
    wait: Duration,
    grace: Duration,
    pending: Mutex<PendingRequests>,
    /// Whether the log said that requests are not answered.
    is_unanswered: AtomicBool,
    unanswered_ms: AtomicU64,
    meters: RequestMetrics,
}

#[derive(Debug)]
struct RequestMetrics {
    requests: IntCounterVec,
    verdicts: IntCounterVec,
    comparisons: IntCounterVec,
    pending: IntGauge,
}

impl RemoteRequests {
    pub(super) fn new(config: &Config, metrics: &Metrics) -> Self {
        let pending_max = config.probes_max.saturating_add(config.asked_max.get());
        Self {
            wait: config.queue_wait.get(),
            grace: config.queue_grace.get(),
            pending: Mutex::new(PendingRequests::new(pending_max)),
            is_unanswered: AtomicBool::new(false),
            unanswered_ms: AtomicU64::new(0),
            meters: RequestMetrics {
                requests: metrics.counters(
                    "musterd_health_requests_total",
                    "Probe requests to remote probers, by result.",
                    &["result"],
                ),
                verdicts: metrics.counters(
                    "musterd_health_verdicts_total",
                    "Verdicts received from probers over the queue, by their use.",
                    &["result"],
                ),
                comparisons: metrics.counters(
                    "musterd_health_comparisons_total",
                    "Verdicts over the queue compared with the direct ones, by result.",
                    &["result"],
                ),
                pending: metrics.gauge(
                    "musterd_health_requests_pending",
                    "Probe requests to remote probers that are not answered yet.",
                ),
            },
        }
    }

    fn request(&self, result: &str) {
        self.meters.requests.with_label_values(&[result]).inc();
    }

    fn show(&self, pending: &PendingRequests) {
        let n = i64::try_from(pending.len()).unwrap_or(i64::MAX);
        self.meters.pending.set(n);
    }

    fn note(&self, remote: &dyn RemoteProber, notes: &[RequestResult]) {
        for note in notes {
            let result = match note {
                RequestResult::Same => "same",
                RequestResult::Different => "different",
                RequestResult::Late => "late",
                RequestResult::Missing => "missing",
                RequestResult::Answered | RequestResult::Unanswered => continue,
            };
            self.meters.comparisons.with_label_values(&[result]).inc();
        }
        for note in notes {
            remote.note(*note);
        }
    }
}

/// A request under way; dropped together with the task that waits for it.
struct RequestGuard<'a> {
    requests: &'a RemoteRequests,
    number: u64,
    reply: oneshot::Receiver<RequestReply>,
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let mut pending = self.requests.pending.lock();
        pending.forget(self.number);
        self.requests.show(&pending);
    }
}

impl Health {
    /// Uses these remote probers from now on; can be called once.
    pub fn use_remote_probers(&self, remote: Arc<dyn RemoteProber>) {
        // Only the composition root calls this.
        let _ = self.shared.remote_probers.set(remote);
    }

    /// Takes the verdict of a remote prober, and the number of the request if the prober sent it.
    pub fn take(&self, found: CheckVerdict, number: Option<u64>) -> VerdictUse {
        let shared = &self.shared;
        let taken = shared.take_found(found, number);
        let label = [taken.as_str()];
        shared
            .remote_requests
            .meters
            .verdicts
            .with_label_values(&label)
            .inc();
        taken
    }

    /// A request could not be sent.
    pub fn unsent(&self, number: u64) {
        self.shared.remote_requests.pending.lock().give_up(number);
    }

    /// No pending request will be answered: the daemon makes those probes itself.
    pub fn cut_off(&self) {
        self.shared.remote_requests.pending.lock().give_all_up();
    }
}

impl Scheduler {
    /// Probes as the mode of channel health says.
    pub(super) async fn probe_by_mode(&self, scheduled: &ScheduledProbe) -> FinishedProbe {
        let remote = self.remote_probers.get();
        let remote = remote.filter(|_| !scheduled.source.is_local(&scheduled.of));
        let Some(remote) = remote else {
            return self.probe(scheduled).await;
        };
        match remote.mode() {
            Mode::Direct => self.probe(scheduled).await,
            Mode::Queue => match self.ask(&**remote, scheduled).await {
                Some(ended) => ended,
                None => self.probe(scheduled).await,
            },
            Mode::Dual => self.probe_both_ways(&**remote, scheduled).await,
        }
    }

    /// None when there was no usable answer.
    async fn ask(
        &self,
        remote: &dyn RemoteProber,
        scheduled: &ScheduledProbe,
    ) -> Option<FinishedProbe> {
        let requests = &self.remote_requests;
        let began_ms = self.now_ms();
        self.sweep(remote, began_ms);
        let wanted = self.wanted(scheduled, began_ms)?;
        let (number, reply) = {
            let mut pending = requests.pending.lock();
            let opened = pending.decide(wanted);
            requests.show(&pending);
            opened?
        };
        let mut guard = RequestGuard {
            requests,
            number,
            reply,
        };
        if !self.send(remote, scheduled, number, &wanted) {
            self.unanswered(remote, "unsent");
            return None;
        }
        let over = self.registry.clock().instant_of(wanted.over_ms);
        match timeout_at(over, &mut guard.reply).await {
            Ok(Ok(RequestReply::Verdict(found))) if found.outcome != Outcome::Skipped => {
                self.answered(remote);
                self.meters
                    .count(scheduled.source.kind_name(&scheduled.of), found.outcome);
                let at_ms = self.now_ms();
                let latency_ms = u64::try_from(found.latency.as_millis()).unwrap_or(u64::MAX);
                Some(FinishedProbe {
                    outcome: found.outcome,
                    began_ms: at_ms.saturating_sub(latency_ms).max(began_ms),
                    at_ms,
                    latency: found.latency,
                    text: in_one_line(&found.message, self.limits.text_max),
                })
            }
            // The prober could not probe.
            Ok(Ok(RequestReply::Verdict(_))) => {
                requests.request("skipped");
                None
            }
            Ok(Ok(RequestReply::Gone)) => {
                requests.request("gone");
                None
            }
            Ok(Ok(RequestReply::Never) | Err(_)) => {
                self.unanswered(remote, "cut_off");
                None
            }
            Err(_) => {
                self.unanswered(remote, "unanswered");
                None
            }
        }
    }

    async fn probe_both_ways(
        &self,
        remote: &dyn RemoteProber,
        scheduled: &ScheduledProbe,
    ) -> FinishedProbe {
        let requests = &self.remote_requests;
        let number = self.ask_to_compare(remote, scheduled);
        let ended = self.probe(scheduled).await;
        if let Some(number) = number {
            let mut notes = Vec::new();
            let mut pending = requests.pending.lock();
            pending.direct(number, ended.outcome, &mut notes);
            requests.show(&pending);
            drop(pending);
            requests.note(remote, &notes);
        }
        ended
    }

    fn ask_to_compare(&self, remote: &dyn RemoteProber, scheduled: &ScheduledProbe) -> Option<u64> {
        let requests = &self.remote_requests;
        let now_ms = self.now_ms();
        self.sweep(remote, now_ms);
        let wanted = self.wanted(scheduled, now_ms)?;
        let number = requests.pending.lock().compare(wanted)?;
        if self.send(remote, scheduled, number, &wanted) {
            requests.request("compared");
            return Some(number);
        }
        requests.request("unsent");
        requests.pending.lock().forget(number);
        requests.note(remote, &[RequestResult::Missing]);
        None
    }

    /// Ends comparisons whose time is over.
    pub(super) fn sweep(&self, remote: &dyn RemoteProber, now_ms: u64) {
        let mut notes = Vec::new();
        self.remote_requests
            .pending
            .lock()
            .sweep(now_ms, &mut notes);
        self.remote_requests.note(remote, &notes);
    }

    /// None when the registration of this probe is no longer the current one.
    fn wanted(&self, scheduled: &ScheduledProbe, now_ms: u64) -> Option<RequestKey> {
        let instance = self.registry.instance(scheduled.of.service_id.as_str())?;
        if !Arc::ptr_eq(&instance.registration, &scheduled.of) {
            return None;
        }
        let requests = &self.remote_requests;
        let deadline_ms = now_ms.saturating_add(millis(requests.wait + scheduled.timeout));
        Some(RequestKey {
            check: scheduled.check,
            incarnation: instance.incarnation,
            deadline_ms,
            over_ms: deadline_ms.saturating_add(millis(requests.grace)),
        })
    }

    fn send(
        &self,
        remote: &dyn RemoteProber,
        scheduled: &ScheduledProbe,
        number: u64,
        wanted: &RequestKey,
    ) -> bool {
        let request = CheckRequest {
            service_id: scheduled.of.service_id.clone(),
            incarnation: wanted.incarnation,
            check: scheduled.source.definition(&scheduled.of, &self.config),
            deadline: self.registry.clock().wall_of(wanted.deadline_ms),
        };
        let left = self.remote_requests.wait + scheduled.timeout;
        remote.ask(number, &request, left)
    }

    fn answered(&self, remote: &dyn RemoteProber) {
        let requests = &self.remote_requests;
        requests.request("answered");
        remote.note(RequestResult::Answered);
        let calm_ms = self
            .now_ms()
            .saturating_sub(requests.unanswered_ms.load(Ordering::Relaxed));
        if requests.is_unanswered.load(Ordering::Relaxed)
            && calm_ms >= CALM_MS
            && requests.is_unanswered.swap(false, Ordering::Relaxed)
        {
            tracing::info!("health checks over the queue are answered again");
        }
    }

    fn unanswered(&self, remote: &dyn RemoteProber, result: &'static str) {
        let requests = &self.remote_requests;
        requests.request(result);
        remote.note(RequestResult::Unanswered);
        requests
            .unanswered_ms
            .store(self.now_ms(), Ordering::Relaxed);
        if !requests.is_unanswered.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                result,
                "health checks over the queue are not answered in time: the daemon probes itself"
            );
        }
    }

    fn take_found(&self, found: CheckVerdict, named: Option<u64>) -> VerdictUse {
        let id = found.service_id.as_str();
        let Some(instance) = self.registry.instance(id) else {
            return VerdictUse::Gone;
        };
        let check = self.following.lock().table.check_of(id, &found.check);
        let mut pending = self.remote_requests.pending.lock();
        let number = check.and_then(|check| pending.of_check(check));
        // An answer to an earlier request does not count for this one.
        let number = number.filter(|number| named.is_none_or(|named| named == *number));
        let asked = number.and_then(|number| pending.incarnation(number));
        let current = found.incarnation == instance.incarnation;
        let (Some(number), true) = (number, asked == Some(found.incarnation)) else {
            return if current {
                VerdictUse::Unasked
            } else {
                VerdictUse::Gone
            };
        };
        if !current {
            // So the request ends now.
            pending.gone(number);
            return VerdictUse::Gone;
        }
        let mut notes = Vec::new();
        pending.answer(number, found, self.now_ms(), &mut notes);
        self.remote_requests.show(&pending);
        drop(pending);
        if let Some(remote) = self.remote_probers.get() {
            self.remote_requests.note(&**remote, &notes);
        }
        VerdictUse::Used
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
