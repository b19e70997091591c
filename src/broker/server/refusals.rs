//! Clients that fare badly, in the log: the first ones of an interval are told of, the others counted. So a
//! client that tries again and again, or a scanner, does not fill the log.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// How many are told of in an interval.
const TOLD_MAX: u64 = 10;
/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many there were in this interval.
#[derive(Debug, Default)]
pub(super) struct Few {
    seen: Mutex<u64>,
}

impl Few {
    /// Counts one more, and warns of it if it is among the first.
    pub(super) fn warn(&self, told: fmt::Arguments<'_>) {
        if self.count() {
            tracing::warn!("{told}");
        }
    }

    /// Counts one; whether it is to be told of.
    pub(super) fn count(&self) -> bool {
        let mut seen = self.seen.lock();
        *seen += 1;
        *seen <= TOLD_MAX
    }

    /// Ends an interval: how many were not told of.
    fn end_interval(&self) -> u64 {
        std::mem::take(&mut *self.seen.lock()).saturating_sub(TOLD_MAX)
    }
}

fn tell_rest(shared: &Shared) {
    let within_s = INTERVAL.as_secs();
    let refused = shared.refusals.end_interval();
    if refused > 0 {
        tracing::warn!(
            refused,
            "refused {refused} more clients in the last {within_s} s"
        );
    }
    let lost = shared.losses.end_interval();
    if lost > 0 {
        tracing::warn!(
            lost,
            "lost {lost} more connections in the last {within_s} s"
        );
    }
    let alarms = shared.alarms.end_interval();
    if alarms > 0 {
        tracing::warn!(
            alarms,
            "the memory alarm came or went {alarms} more times in the last {within_s} s"
        );
    }
}

/// Ends each interval until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        tell_rest(&shared);
    }
    tell_rest(&shared);
}

#[cfg(test)]
mod tests;
