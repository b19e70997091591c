//! Reads that may wait for a lock: they run on threads of their own, so that no thread of HTTP waits.

use std::{panic::resume_unwind, sync::Arc};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::http::answer::Refusal;

/// So many run at once; the others wait for their turn without a thread.
const AT_ONCE_MAX: usize = 4;

/// Runs such reads, a limited number at once.
#[derive(Debug)]
pub(in crate::http) struct BlockingReads(Arc<Semaphore>);

impl Default for BlockingReads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE_MAX)))
    }
}

impl BlockingReads {
    /// Runs `read` on a thread that may block. Dropped, it still runs to its end there.
    ///
    /// # Errors
    /// The daemon is stopping.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let stopping = || Refusal::new(503, "the daemon is stopping");
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.map_err(|_| stopping())?;
        let done = spawn_blocking(move || {
            let read = read();
            drop(permit);
            read
        });
        match done.await {
            Ok(read) => Ok(read),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(stopping()),
        }
    }
}
