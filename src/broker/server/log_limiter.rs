//! Bounds what clients can write into the log. Of each kind of line, the first ones of an interval are
//! written and the others counted. Text from clients is cut.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// How many lines of one kind are written in an interval.
const LINES_MAX: u64 = 10;
/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most characters of client text in a log line.
const TEXT_MAX: usize = 100;

/// Counts the lines of one kind in this interval.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    seen: Mutex<u64>,
}

impl LogLimiter {
    /// Writes a warning, or counts it if there were too many.
    pub(super) fn warn(&self, line: fmt::Arguments<'_>) {
        if self.allows() {
            tracing::warn!("{line}");
        }
    }

    /// Counts one more line; whether it may be written.
    pub(super) fn allows(&self) -> bool {
        let mut seen = self.seen.lock();
        *seen += 1;
        *seen <= LINES_MAX
    }

    /// Ends an interval: how many lines were not written.
    fn end_interval(&self) -> u64 {
        std::mem::take(&mut *self.seen.lock()).saturating_sub(LINES_MAX)
    }
}

/// The kinds of lines that clients cause.
#[derive(Debug, Default)]
pub(super) struct ClientLog {
    /// Clients that were refused before they had opened a vhost.
    pub(super) refused: LogLimiter,
    /// Connections that were opened.
    pub(super) opened: LogLimiter,
    /// Connections that were closed in order.
    pub(super) closed: LogLimiter,
    /// Connections that broke.
    pub(super) lost: LogLimiter,
    /// Channels and connections that were closed because of an error of their client.
    pub(super) exceptions: LogLimiter,
    /// Connections that were closed by an operator or a stop.
    pub(super) forced: LogLimiter,
    /// Times when the memory alarm began or ended.
    pub(super) alarms: LogLimiter,
}

impl ClientLog {
    fn end_interval(&self) {
        let warnings = [
            (&self.refused, "refused clients"),
            (&self.lost, "lost connections"),
            (&self.exceptions, "errors of clients"),
            (&self.alarms, "changes of the memory alarm"),
        ];
        let within_s = INTERVAL.as_secs();
        for (limiter, what) in warnings {
            let count = limiter.end_interval();
            if count > 0 {
                tracing::warn!(count, "{what} not logged in the last {within_s} s: {count}");
            }
        }
        let news = [
            (&self.opened, "opened connections"),
            (&self.closed, "closed connections"),
            (&self.forced, "connections closed by the broker"),
        ];
        for (limiter, what) in news {
            let count = limiter.end_interval();
            if count > 0 {
                tracing::info!(count, "{what} not logged in the last {within_s} s: {count}");
            }
        }
    }
}

/// A client's text, cut to what a log line may hold of it.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_MAX) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}

/// Ends each interval until `stop`.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        shared.log.end_interval();
    }
    shared.log.end_interval();
}

#[cfg(test)]
mod tests;
