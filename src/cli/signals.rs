//! Signals, on their own thread: a stop works also while all other threads are busy.

use std::{io, process, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::app::Logs;

/// How long the last lines of the log may take to be written before an immediate end.
const LOG_PATIENCE: Duration = Duration::from_millis(100);

/// The stop and the reload that signals ask for.
#[derive(Debug)]
pub(super) struct Signals {
    stop: CancellationToken,
    reload: Arc<Notify>,
}

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP from now on.
    ///
    /// The first SIGTERM or SIGINT asks for a stop. The second ends the process at once, with the exit code
    /// of shells for a signal (128 + its number).
    ///
    /// # Errors
    /// The system has no thread, or does not let signals be caught.
    pub(super) fn catch(logs: Logs) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let caught = {
            let _within = runtime.enter();
            Caught {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hangup: signal(SignalKind::hangup())?,
                stop: CancellationToken::new(),
                reload: Arc::default(),
            }
        };
        let signals = Self {
            stop: caught.stop.clone(),
            reload: Arc::clone(&caught.reload),
        };
        let thread = thread::Builder::new().name("musterd-signals".to_owned());
        thread.spawn(move || caught.follow(&runtime, &logs))?;
        Ok(signals)
    }

    /// Returns at the first SIGTERM or SIGINT; calls `reload` at each SIGHUP, and when a client asks for it.
    pub(super) async fn wait_for_stop(self, asked: &Notify, reload: impl Fn()) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.reload.notified() => reload(),
                () = asked.notified() => reload(),
            }
        }
        tracing::info!("stopping");
    }
}

struct Caught {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    stop: CancellationToken,
    reload: Arc<Notify>,
}

impl Caught {
    fn follow(mut self, runtime: &Runtime, logs: &Logs) {
        let code = runtime.block_on(self.second_stop());
        tracing::warn!("a second signal: the process ends at once");
        logs.flush(LOG_PATIENCE);
        process::exit(code);
    }

    /// The exit code for the signal that comes after the one that asked for a stop.
    async fn second_stop(&mut self) -> i32 {
        loop {
            let code = tokio::select! {
                _ = self.terminate.recv() => 128 + SignalKind::terminate().as_raw_value(),
                _ = self.interrupt.recv() => 128 + SignalKind::interrupt().as_raw_value(),
                _ = self.hangup.recv() => {
                    self.reload.notify_one();
                    continue;
                }
            };
            if self.stop.is_cancelled() {
                return code;
            }
            self.stop.cancel();
        }
    }
}
