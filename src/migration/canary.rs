//! The canary: a synthetic instance that is registered, probed, discovered, deregistered and watched.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::{
    api::{MigrationCanary, MigrationCanaryStep},
    migration::{CanaryWatch, CanaryWay, StepError},
    model::{EventKind, Timestamp},
    registry::{Clock, Now},
};

/// One run of the canary.
#[derive(Clone, Debug)]
pub(super) struct CanaryRun {
    pub(super) began_ms: u64,
    pub(super) ended: Timestamp,
    pub(super) steps: Vec<MigrationCanaryStep>,
}

impl CanaryRun {
    /// True when each step passed.
    pub(super) fn passed(&self) -> bool {
        self.failed_step().is_none()
    }

    /// The first step that failed, and why.
    pub(super) fn failed_step(&self) -> Option<(&'static str, &str)> {
        let mut failed = self
            .steps
            .iter()
            .filter_map(|step| Some((step.name, step.error.as_deref()?)));
        failed.next()
    }
}

/// Counts of the canary's runs, and the last one.
#[derive(Clone, Debug, Default)]
pub(super) struct CanaryRuns {
    runs: u64,
    failures: u64,
    pub(super) last: Option<CanaryRun>,
}

impl CanaryRuns {
    pub(super) fn add(&mut self, canary_run: CanaryRun) {
        self.runs += 1;
        self.failures += u64::from(!canary_run.passed());
        self.last = Some(canary_run);
    }

    /// The last run, if it began at `began_ms` or later.
    pub(super) fn since(&self, began_ms: u64) -> Option<&CanaryRun> {
        self.last
            .as_ref()
            .filter(|canary_run| canary_run.began_ms >= began_ms)
    }

    pub(super) fn report(&self, active: bool) -> MigrationCanary {
        MigrationCanary {
            active,
            runs: self.runs,
            failures: self.failures,
            at: self.last.as_ref().map(|canary_run| canary_run.ended),
            steps: self
                .last
                .as_ref()
                .map_or_else(Vec::new, |canary_run| canary_run.steps.clone()),
        }
    }
}

/// The time limits of steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) step: Duration,
    /// The step `probe`, which includes the wait for the first probe.
    pub(super) probe: Duration,
}

/// Registers, probes, discovers and deregisters the canary, then checks that its watch saw each change.
pub(super) async fn run_canary(way: &dyn CanaryWay, times: Times, clock: &Clock) -> CanaryRun {
    let Now { mono_ms, .. } = clock.now();
    way.clean();
    let mut steps = Steps {
        time_max: times.step,
        done: Vec::with_capacity(5),
    };
    let watch = way.watch();
    if steps.take("register", way.register()).await {
        steps.time_max = times.probe;
        steps.take("probe", way.probe()).await;
        steps.time_max = times.step;
        steps.take("discover", way.discover()).await;
        steps.take("deregister", way.deregister()).await;
        steps.take("watch", see(watch)).await;
    }
    way.clean();
    CanaryRun {
        began_ms: mono_ms,
        ended: clock.now().wall,
        steps: steps.done,
    }
}

struct Steps {
    time_max: Duration,
    done: Vec<MigrationCanaryStep>,
}

impl Steps {
    /// True when the step passed.
    async fn take(
        &mut self,
        name: &'static str,
        step: impl Future<Output = Result<(), StepError>>,
    ) -> bool {
        let began = Instant::now();
        let ended = timeout(self.time_max, step).await;
        let error = match ended {
            Ok(ended) => ended.err(),
            Err(_) => Some(format!("not within {:?}", self.time_max)),
        };
        let passed = error.is_none();
        self.done.push(MigrationCanaryStep {
            name,
            took_ms: began.elapsed().as_secs_f64() * 1e3,
            error,
        });
        passed
    }
}

/// The watch must show the registration and each later change, once and in order.
async fn see(watch: Result<Box<dyn CanaryWatch>, StepError>) -> Result<(), StepError> {
    let mut watch = watch?;
    let (mut last, mut came) = (0, false);
    loop {
        let (kind, revision) = watch.next().await?;
        if revision <= last {
            return Err(format!("change {revision} came after {last}"));
        }
        last = revision;
        match kind {
            EventKind::Registered => came = true,
            EventKind::Deregistered if came => return Ok(()),
            EventKind::Deregistered => {
                return Err("it was deregistered before it was registered".to_owned());
            }
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests;
