//! What clients ask of the daemon as a whole: to stop, to read its configuration again, to show its log.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::Logs;
use crate::http::ConsulControls;

/// A cheap, cloneable handle.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientRequests(Arc<RequestedOfDaemon>);

#[derive(Debug, Default)]
struct RequestedOfDaemon {
    leave: CancellationToken,
    reload: Arc<Notify>,
    logs: OnceLock<Logs>,
}

impl ClientRequests {
    /// Shows this log to those who ask for it.
    pub(super) fn show_log(&self, logs: &Logs) {
        // There is one log in a process: another one changes nothing.
        let _ = self.0.logs.set(logs.clone());
    }

    /// Notified when the configuration is to be read again.
    pub(super) fn reloads(&self) -> Arc<Notify> {
        Arc::clone(&self.0.reload)
    }

    /// Completes with `request`, or when a client asks for a stop.
    pub(super) fn or_left<F: Future<Output = ()>>(
        &self,
        request: F,
    ) -> impl Future<Output = ()> + use<F> {
        let leave = self.0.leave.clone();
        async move {
            tokio::select! {
                () = request => (),
                () = leave.cancelled() => tracing::info!("stopping: a client asked for it"),
            }
        }
    }
}

impl ConsulControls for ClientRequests {
    fn reload(&self) {
        self.0.reload.notify_one();
    }

    fn leave(&self) {
        self.0.leave.cancel();
    }

    fn follow_log(&self, level: tracing::Level) -> Option<mpsc::Receiver<Box<str>>> {
        self.0.logs.get().map(|logs| logs.follow(level))
    }
}
