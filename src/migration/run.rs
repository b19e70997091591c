//! The loop: look → act → wait; and the loop of the canary. `state` decides.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    canary::{Times, run_canary},
    config::Config,
    meters::MigrationMetrics,
    needs::Needs,
    state::{Act, DaemonView, MigrationState, StateMark, StepNotice},
    window::Measurements,
};
use crate::{
    api::{
        self, MigrationDraft, MigrationRefusal, MigrationReport, Notice, StoredMigration,
        TransportReport,
    },
    model::Channel,
    registry::{NoticeEntry, UnreadableRow},
    telemetry::Latencies,
};

/// The table of its only row.
pub const TABLE: &str = "migration";
/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the state may take to be stored before the next act.
const SAVE_MAX: Duration = Duration::from_secs(1);

/// A cheap handle to the migration.
#[derive(Clone, Debug)]
pub struct Migration(Arc<MigrationParts>);

#[derive(Debug)]
struct MigrationParts {
    needs: Needs,
    config: Config,
    latencies: Arc<Latencies>,
    meters: Arc<MigrationMetrics>,
    state: Arc<Mutex<MigrationState>>,
    /// Wakes the loop before its time.
    wake: Notify,
    canary: watch::Sender<(bool, u64)>,
    /// Of the state that is stored.
    saved: Mutex<StateMark>,
}

impl Migration {
    /// A migration that has not begun, or continues the one of `stored`, a row of an earlier run. The guard
    /// is armed as the configuration says.
    ///
    /// # Errors
    /// The row cannot be read.
    pub fn open(
        config: Config,
        needs: Needs,
        stored: Option<&[u8]>,
    ) -> Result<Self, UnreadableRow> {
        let latencies = Arc::clone(needs.metrics.latencies());
        let meters = Arc::new(MigrationMetrics::new(&needs.metrics));
        let now = needs.registry.clock().now();
        let sources = sources(&latencies, &needs.transports.report());
        let state = match stored {
            None => MigrationState::new(config.clone(), now, sources),
            Some(row) => {
                let flagged = needs.transports.flag();
                let stored = StoredMigration::read(row);
                let restored = stored.and_then(|stored| {
                    MigrationState::restore(config.clone(), now, sources, stored, flagged)
                });
                restored.ok_or(UnreadableRow { table: TABLE })?
            }
        };
        let state = Arc::new(Mutex::new(state));
        let (shown, state_shown) = (Arc::clone(&meters), Arc::clone(&state));
        needs
            .metrics
            .before_render(move || shown.show(&state_shown.lock()));
        Ok(Self(Arc::new(MigrationParts {
            needs,
            config,
            latencies,
            meters,
            state,
            wake: Notify::new(),
            canary: watch::Sender::new((false, 0)),
            saved: Mutex::default(),
        })))
    }

    /// Observes and acts until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.watch_over(&stop), self.keep_canary_running(&stop));
    }

    async fn watch_over(&self, stop: &CancellationToken) {
        let inner = &self.0;
        let mut flag = inner.needs.transports.follow();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            loop {
                let act = self.look();
                // First, so that a restart knows what was begun.
                self.save().await;
                let Some(act) = act else { break };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = self.perform(act) => (),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = inner.wake.notified() => (),
                Ok(()) = flag.changed() => (),
                _ = ticks.tick() => (),
            }
        }
    }

    fn look(&self) -> Option<Act> {
        let inner = &self.0;
        let report = inner.needs.transports.report();
        let flagged = inner.needs.transports.flag();
        let sources = sources(&inner.latencies, &report);
        let mut state = inner.state.lock();
        let act = state.look(&DaemonView {
            now: inner.needs.registry.clock().now(),
            flagged,
            report: &report,
            sources: &sources,
        });
        self.publish_notices(&mut state);
        act
    }

    /// Stores the state if it has changed. A disk that does not answer delays no rollback for longer than
    /// [`SAVE_MAX`]; a state that is not stored is stored at the next look.
    async fn save(&self) {
        let inner = &self.0;
        let (mark, row) = {
            let state = inner.state.lock();
            let mark = state.mark();
            if mark == *inner.saved.lock() {
                return;
            }
            (mark, state.stored())
        };
        let Some(row) = row else { return };
        let saved = timeout(SAVE_MAX, inner.needs.row.save(row.encode())).await;
        if let Ok(Ok(())) = saved {
            *inner.saved.lock() = mark;
        }
    }

    async fn perform(&self, act: Act) {
        let inner = &self.0;
        let transports = &inner.needs.transports;
        let clock = inner.needs.registry.clock();
        match act {
            Act::Set { modes, only_if } => {
                let answer = transports.set(modes, Some(only_if)).await;
                let mut state = inner.state.lock();
                state.turned(modes, answer, clock.now());
                self.publish_notices(&mut state);
            }
            Act::Settle(max) => {
                let in_time = transports.settled(max).await;
                let mut state = inner.state.lock();
                state.settled(in_time, clock.now());
                self.publish_notices(&mut state);
            }
        }
    }

    /// Logs, counts and publishes the new steps, and starts or stops the canary.
    fn publish_notices(&self, state: &mut MigrationState) {
        let inner = &self.0;
        let wanted = state.wants_canary();
        inner.canary.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
        for StepNotice {
            event,
            text,
            is_warning,
        } in state.take_notices()
        {
            if is_warning {
                tracing::warn!(migration.event = event, "{event}: {text}");
            } else {
                tracing::info!(migration.event = event, "{event}: {text}");
            }
            inner.meters.step(event);
            if let Some(cause) = state.begun(event) {
                inner.meters.rolled_back(cause);
            }
            inner.needs.notices.push(event, self.notice(event, &text));
        }
    }

    fn notice(&self, event: &str, reason: &str) -> Bytes {
        let registry = &self.0.needs.registry;
        api::notice(&Notice {
            event,
            epoch: registry.epoch(),
            service_name: None,
            reason: Some(reason),
            timestamp: registry.clock().now().wall,
        })
    }

    /// Runs the canary at its interval while it is wanted; leaves no instance behind.
    async fn keep_canary_running(&self, stop: &CancellationToken) {
        let inner = &self.0;
        let way = &*inner.needs.canary;
        let clock = inner.needs.registry.clock();
        let times = Times {
            step: inner.config.canary_timeout.get(),
            probe: inner.config.canary_timeout.get() + inner.needs.first_probe_within,
        };
        let mut wanted = inner.canary.subscribe();
        loop {
            let (active, _) = *wanted.borrow_and_update();
            if active {
                let before = inner.needs.transports.flag().version;
                let canary_run = tokio::select! {
                    () = stop.cancelled() => {
                        way.clean();
                        return;
                    }
                    canary_run = run_canary(way, times, clock) => canary_run,
                };
                // A run during which the flag changed says nothing about either way.
                if canary_run.passed() || inner.needs.transports.flag().version == before {
                    inner.meters.canary_finished(&canary_run);
                    inner.state.lock().canary_finished(canary_run);
                    inner.wake.notify_one();
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = wanted.changed() => (),
                () = sleep(inner.config.canary_interval.get()), if active => (),
            }
        }
    }

    /// Its state.
    pub fn report(&self) -> MigrationReport {
        let inner = &self.0;
        let mut report = inner.state.lock().report();
        let notices = inner.needs.notices.since(0);
        let read = |entry: &Arc<NoticeEntry>| serde_json::from_slice(&entry.json).ok();
        report.notices = notices.iter().filter_map(read).collect();
        report.timestamp = inner.needs.registry.clock().now().wall;
        report
    }

    /// Starts what an operator asks for; does not wait for it.
    ///
    /// # Errors
    /// Says what prevents it; nothing was changed.
    pub fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal> {
        let inner = &self.0;
        let now = inner.needs.registry.clock().now();
        let mut state = inner.state.lock();
        let taken = state.ask(draft, inner.needs.transports.flag(), now);
        self.publish_notices(&mut state);
        drop(state);
        inner.wake.notify_one();
        taken
    }
}

/// The result so far.
fn sources(latencies: &Latencies, report: &TransportReport) -> Measurements {
    let discovery = report.channel(Channel::Discovery);
    Measurements {
        latencies: [
            latencies.register.snapshot(),
            latencies.discover.snapshot(),
            latencies.delivery.snapshot(),
        ],
        failed: latencies.discover_failures(),
        amqp_answered: discovery.map_or(0, |channel| channel.sent),
        amqp_failed: discovery.map_or(0, |channel| channel.failed),
    }
}

#[cfg(test)]
mod tests;
