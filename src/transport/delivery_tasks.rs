//! The tasks of one room's subscribers: bounded in number, stopped and joined.

use std::{
    fmt::Display,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::TransportError;

/// One task per subscriber.
#[derive(Debug)]
pub(super) struct DeliveryTasks {
    name: &'static str,
    permits: Arc<Semaphore>,
    permits_max: usize,
    tasks: TaskTracker,
    stopping: CancellationToken,
    over: CancellationToken,
    runtime: Handle,
}

impl DeliveryTasks {
    /// No tasks yet; all will run on the runtime of this call, whichever runtime adds them.
    pub(super) fn new(name: &'static str, permits_max: usize) -> Self {
        let permits_max = permits_max.min(Semaphore::MAX_PERMITS);
        Self {
            name,
            permits: Arc::new(Semaphore::new(permits_max)),
            permits_max,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            over: CancellationToken::new(),
            runtime: Handle::current(),
        }
    }

    /// Room for one more, given back when it is dropped.
    pub(super) fn permit(&self) -> Result<OwnedSemaphorePermit, TransportError> {
        if self.stopping.is_cancelled() {
            return Err(TransportError::Stopping);
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map_err(|_| TransportError::Full {
            what: self.name,
            max: self.permits_max,
        })
    }

    /// Cancelled when every task shall deliver the rest and return.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Runs the task of the subscriber that `label` names; it is dropped when the time to drain is over. Deliveries
    /// catch panics of their own.
    pub(super) fn spawn(
        &self,
        label: impl Display + Send + 'static,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let over = self.over.clone();
        let task = async move {
            let ended = tokio::select! {
                biased;
                () = over.cancelled() => return,
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
            };
            if ended.is_err() {
                tracing::error!(
                    subscriber = %label,
                    "{label} panicked and receives nothing more; remove it and add it again"
                );
            }
        };
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Does some work to its end, also if the caller does not wait for it.
    pub(super) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, TransportError> {
        let done = self.tasks.spawn_on(work, &self.runtime).await;
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => TransportError::Stopping,
        })
    }

    /// Stops all, and waits for them; those that take longer than `drain` are dropped.
    pub(super) async fn stop(&self, drain: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if timeout(drain, self.tasks.wait()).await.is_ok() {
            return;
        }
        let left = self.tasks.len();
        tracing::warn!(
            left,
            "{left} {} were still busy after transport.drain: their next events are not delivered",
            self.name
        );
        self.over.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for DeliveryTasks {
    /// The tasks can no longer be stopped in order: they end now.
    fn drop(&mut self) {
        self.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use tokio::runtime::Builder;

    use super::*;
    use crate::telemetry::testing::LoggedText;

    #[test]
    fn tasks_run_on_the_runtime_that_made_them() {
        let mut own = Builder::new_multi_thread();
        let own = own.worker_threads(1).thread_name("own").enable_all();
        let own = own.build().unwrap();
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        let delivery_tasks = own.block_on(async { DeliveryTasks::new("tests", 1) });
        let (tx, names) = mpsc::channel();
        other.block_on(async {
            delivery_tasks.spawn("a test", async move {
                tx.send(thread::current().name().map(str::to_owned))
                    .unwrap();
            });
        });
        assert_eq!(names.recv().unwrap().as_deref(), Some("own"));
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named_in_the_log() {
        let logged = LoggedText::start();
        let delivery_tasks = DeliveryTasks::new("tests", 1);
        let permit = delivery_tasks.permit().unwrap();
        delivery_tasks.spawn("webhook 7", async move {
            let _held = permit;
            panic!("in a subscriber's task");
        });
        delivery_tasks.stop(Duration::from_secs(20)).await;
        let text = logged.text();
        assert!(text.contains("webhook 7 panicked"), "{text}");
    }
}
