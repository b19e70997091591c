//! Starts, supervises and stops the long-running tasks of the process; knows nothing of what they do.

use std::{collections::HashMap, pin::Pin, time::Duration};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The order of stopping follows the data: sources first, sinks last.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Takes work in: HTTP, health checks.
    Source,
    /// Carries what was taken in: transports.
    Carrier,
    /// Receives what is carried: the broker.
    Sink,
}

/// In the order in which they stop.
const STAGES: [Stage; 3] = [Stage::Source, Stage::Carrier, Stage::Sink];

impl Stage {
    /// Percent of the grace period.
    const fn share(self) -> u32 {
        match self {
            Self::Source => 35,
            Self::Carrier => 40,
            Self::Sink => 25,
        }
    }

    /// The part of a grace period in which this stage stops, at least: time that earlier stages leave is added.
    pub fn part_of(self, grace: Duration) -> Duration {
        grace * self.share() / 100
    }

    /// How long a task of this stage may wait for others before it cuts them off: `wanted`, but a little less
    /// than the stage's part. So the task itself ends in time.
    pub fn patience(self, grace: Duration, wanted: Duration) -> Duration {
        let tenths = match self {
            // A carrier closes its connection after that.
            Self::Carrier => 8,
            _ => 9,
        };
        wanted.min(self.part_of(grace) * tenths / 10)
    }
}

/// The long-running tasks, one per component. When one ends by itself, all are stopped.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    running: HashMap<Id, Running>,
    /// The end of the grace period, once they stop.
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    stage: Stage,
    stop: CancellationToken,
    abort: AbortHandle,
}

/// Why the process stopped other than on request.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum StopError {
    /// A task ended before it was asked to.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// A task panicked.
    #[error("{0} panicked")]
    Panicked(&'static str),
    /// A task was still running when the time of its stage was over, and was aborted.
    #[error("{0} did not stop within its part of stop.grace")]
    Overdue(&'static str),
}

impl Tasks {
    /// Spawns a task; it must return soon after its token is cancelled.
    pub fn spawn<F>(
        &mut self,
        stage: Stage,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), stage, name, task);
    }

    /// Spawns a task like [`Self::spawn`], on the threads of another runtime.
    pub fn spawn_on<F>(
        &mut self,
        runtime: &Handle,
        stage: Stage,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        // One type for all: tokio's code for a task is compiled once per type.
        let task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task(stop.clone()));
        let abort = self.set.spawn_on(task, runtime);
        let running = Running {
            name,
            stage,
            stop,
            abort: abort.clone(),
        };
        self.running.insert(abort.id(), running);
    }

    /// Runs until `request` completes or a task ends, then stops stage by stage within `grace`.
    ///
    /// Each stage has its part of `grace`, and what earlier ones left of theirs. Tasks that outlive it are aborted.
    ///
    /// # Errors
    /// The first that went wrong; the log has all.
    pub async fn run_until(
        &mut self,
        request: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<(), StopError> {
        let mut errors = Vec::new();
        tokio::select! {
            () = request => {}
            Some(joined) = self.set.join_next_with_id() => {
                errors.push(self.close(&joined));
            }
        }
        let mut deadline = Instant::now();
        self.deadline = Some(deadline + grace);
        for stage in STAGES {
            deadline += stage.part_of(grace);
            self.stop(stage, deadline, &mut errors).await;
        }
        for error in &errors {
            tracing::error!("while stopping: {error}");
        }
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// What is left of the grace period after [`Self::run_until`].
    pub fn left(&self) -> Duration {
        let now = Instant::now();
        self.deadline
            .map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }

    /// Stops one stage; aborts its remaining tasks at the deadline.
    async fn stop(&mut self, stage: Stage, deadline: Instant, errors: &mut Vec<StopError>) {
        let of_stage = |task: &&Running| task.stage == stage;
        for task in self.running.values().filter(of_stage) {
            task.stop.cancel();
        }
        while self.running.values().any(|task| task.stage == stage) {
            match timeout_at(deadline, self.set.join_next_with_id()).await {
                Ok(Some(joined)) => errors.extend(self.fault(&joined, stage)),
                Ok(None) => return,
                Err(_) => break,
            }
        }
        self.running.retain(|_, task| {
            if task.stage == stage {
                task.abort.abort();
                errors.push(StopError::Overdue(task.name));
            }
            task.stage != stage
        });
    }

    /// A task of a later stage must not end yet; no task may panic.
    fn fault(&mut self, joined: &Joined, stage: Stage) -> Option<StopError> {
        // Aborted tasks are no longer in the table; they were reported.
        let early = stage < self.running.get(&id(joined))?.stage;
        let error = self.close(joined);
        (early || matches!(error, StopError::Panicked(_))).then_some(error)
    }

    fn close(&mut self, joined: &Joined) -> StopError {
        let task = self.running.remove(&id(joined));
        let name = task.map_or("an unknown task", |task| task.name);
        match joined {
            Err(error) if error.is_panic() => StopError::Panicked(name),
            _ => StopError::Ended(name),
        }
    }
}

impl Drop for Tasks {
    /// Work in threads ends only when it is told to: a start that failed leaves nothing running.
    fn drop(&mut self) {
        for task in self.running.values() {
            task.stop.cancel();
        }
    }
}

type Joined = Result<(Id, ()), JoinError>;

fn id(joined: &Joined) -> Id {
    match joined {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

#[cfg(test)]
mod tests;
