//! The scheduled probes under way: limited in number, and each frees its place however it ends.

use std::{sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::Scheduler;
use crate::{
    health::{
        meters::HealthMetrics,
        table::{FinishedProbe, ScheduledProbe},
    },
    outbound::Shares,
};

#[derive(Debug)]
pub(super) struct RunningProbes {
    set: JoinSet<()>,
    free: Arc<Mutex<Shares>>,
}

impl RunningProbes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            set: JoinSet::new(),
            free: Arc::new(Mutex::new(Shares::of(max))),
        }
    }

    /// The places that are free.
    pub(super) fn free(&self) -> Shares {
        *self.free.lock()
    }

    pub(super) fn start(&mut self, shared: &Arc<Scheduler>, scheduled: ScheduledProbe) {
        let place = RunningProbe::new(Arc::clone(shared), scheduled, &self.free);
        self.set.spawn(place.probe());
    }

    /// Waits for the end of a probe, then takes all that have ended.
    pub(super) async fn ended(&mut self) {
        // A panic was logged when its place became free.
        if self.set.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
        while self.set.try_join_next().is_some() {}
    }

    /// Aborts all probes, and returns when they have ended.
    pub(super) async fn stop(mut self) {
        self.set.shutdown().await;
    }
}

/// A probe under way. However it ends, the check is booked again and the place is free.
#[derive(Debug)]
struct RunningProbe {
    shared: Arc<Scheduler>,
    scheduled: ScheduledProbe,
    free: Arc<Mutex<Shares>>,
    ended: Option<FinishedProbe>,
}

impl RunningProbe {
    fn new(shared: Arc<Scheduler>, scheduled: ScheduledProbe, free: &Arc<Mutex<Shares>>) -> Self {
        free.lock().take(scheduled.pace);
        Self {
            shared,
            scheduled,
            free: Arc::clone(free),
            ended: None,
        }
    }

    async fn probe(mut self) {
        let late_ms = self.shared.now_ms().saturating_sub(self.scheduled.due_ms);
        let late = Duration::from_millis(late_ms);
        self.shared.meters.lateness.observe(late.as_secs_f64());
        self.ended = Some(self.shared.probe_by_mode(&self.scheduled).await);
    }
}

impl Drop for RunningProbe {
    fn drop(&mut self) {
        if thread::panicking() {
            let id = self.scheduled.of.service_id.as_str();
            tracing::error!(
                service.id = id,
                "a probe of \"{id}\" panicked; its check is probed again at its next interval"
            );
        }
        let mut following = self.shared.following.lock();
        if let Some(ended) = self.ended.take() {
            self.shared.judge(&mut following, &self.scheduled, ended);
        }
        let now_ms = self.shared.now_ms();
        following.table.book_next(&self.scheduled, now_ms);
        drop(following);
        self.free.lock().give_back(self.scheduled.pace);
    }
}

/// Counts a probe for as long as it runs.
#[derive(Debug)]
pub(super) struct InFlightGauge<'a>(&'a HealthMetrics);

impl<'a> InFlightGauge<'a> {
    pub(super) fn new(meters: &'a HealthMetrics) -> Self {
        meters.in_flight.inc();
        Self(meters)
    }
}

impl Drop for InFlightGauge<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
