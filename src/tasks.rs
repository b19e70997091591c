//! Starting, supervising and stopping the rooms of the process; knows nothing of what they do.

use std::{collections::HashMap, pin::Pin, time::Duration};

use tokio::{
    runtime::Handle,
    task::{Id, JoinError, JoinSet},
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

/// The long-running tasks, one per room. When one ends, all are told to end.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    rooms: HashMap<Id, Room>,
}

#[derive(Debug)]
struct Room {
    name: &'static str,
    stage: Stage,
    stop: CancellationToken,
}

/// Why the process stopped other than on request.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum StopError {
    /// A room ended while the others were still wanted.
    #[error("{0} ended by itself")]
    Ended(&'static str),
    /// A room panicked.
    #[error("{0} panicked")]
    Panicked(&'static str),
    /// A room was still busy when the grace period was over.
    #[error("{0} was still running after the grace period")]
    Overdue(&'static str),
}

impl Tasks {
    /// Spawns a room; it must return soon after its token is cancelled.
    pub fn spawn<F>(
        &mut self,
        stage: Stage,
        name: &'static str,
        room: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), stage, name, room);
    }

    /// Spawns a room like [`Self::spawn`], on the threads of another runtime.
    pub fn spawn_on<F>(
        &mut self,
        runtime: &Handle,
        stage: Stage,
        name: &'static str,
        room: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        // All of one type: the code that runs a task is made anew for each type of it.
        let room: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(room(stop.clone()));
        let handle = self.set.spawn_on(room, runtime);
        self.rooms.insert(handle.id(), Room { name, stage, stop });
    }

    /// Runs until `request` completes or a room ends, then stops stage by stage.
    ///
    /// Rooms which outlive the grace period are aborted.
    pub async fn run_until(
        mut self,
        request: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<(), StopError> {
        let mut result = tokio::select! {
            () = request => Ok(()),
            Some(joined) = self.set.join_next_with_id() => {
                Err(self.close(&joined))
            }
        };
        let deadline = Instant::now() + grace;
        for stage in [Stage::Source, Stage::Carrier, Stage::Sink] {
            result = result.and(self.stop(stage, deadline).await);
        }
        result
    }

    async fn stop(&mut self, stage: Stage, deadline: Instant) -> Result<(), StopError> {
        for room in self.rooms.values().filter(|room| room.stage == stage) {
            room.stop.cancel();
        }
        let mut result = Ok(());
        while let Some(waiting) = self.rooms.values().find(|room| room.stage == stage) {
            let overdue = StopError::Overdue(waiting.name);
            match timeout_at(deadline, self.set.join_next_with_id()).await {
                Ok(Some(joined)) => {
                    let verdict = self.judge(&joined, stage);
                    result = result.and(verdict);
                }
                Ok(None) => return result,
                Err(_) => return result.and(Err(overdue)),
            }
        }
        result
    }

    /// A room of a later stage has no business ending yet; a panic is never fine.
    fn judge(&mut self, joined: &Joined, stage: Stage) -> Result<(), StopError> {
        let early = self
            .rooms
            .get(&id(joined))
            .is_some_and(|room| stage < room.stage);
        let error = self.close(joined);
        if early || matches!(error, StopError::Panicked(_)) {
            return Err(error);
        }
        Ok(())
    }

    fn close(&mut self, joined: &Joined) -> StopError {
        let name = self
            .rooms
            .remove(&id(joined))
            .map_or("unnamed", |room| room.name);
        match joined {
            Err(error) if error.is_panic() => StopError::Panicked(name),
            _ => StopError::Ended(name),
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
