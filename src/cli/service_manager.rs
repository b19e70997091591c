//! What a service manager such as systemd is notified of (`Type=notify`, `WatchdogSec`).

use sd_notify::NotifyState;
use tokio::time::sleep;

/// It serves. Without a service manager nothing happens.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// It has begun to stop.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Reports that the process works, twice in each time that the service manager allows; ends only by being dropped.
pub(super) async fn report_working() {
    let Some(allowed) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        sleep(allowed / 2).await;
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager is not notified");
    }
}
