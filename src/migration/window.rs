//! Windows of measurements: latencies and failures over a minimum time, with enough samples.

use std::time::Duration;

use crate::telemetry::LatencySnapshot;

/// The quantile that is judged.
const SHARE: f64 = 0.95;
/// A window that has too few samples after this many times its length begins again.
const STALE_AFTER: u64 = 12;

/// The measured latencies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Measured {
    Register,
    Discover,
    Delivery,
}

impl Measured {
    pub(super) const ALL: [Self; 3] = [Self::Register, Self::Discover, Self::Delivery];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Discover => "discover",
            Self::Delivery => "delivery",
        }
    }
}

/// The measurements since the daemon's start.
#[derive(Clone, Debug, Default)]
pub(super) struct Measurements {
    /// By `Measured`.
    pub(super) latencies: [LatencySnapshot; 3],
    /// Discovery requests over REST that failed.
    pub(super) failed: u64,
    /// Those over AMQP that were answered, and that failed.
    pub(super) amqp_answered: u64,
    pub(super) amqp_failed: u64,
}

impl Measurements {
    pub(super) fn of(&self, what: Measured) -> &LatencySnapshot {
        &self.latencies[what as usize]
    }
}

/// The minimum size of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowSize {
    pub(super) span: Duration,
    pub(super) samples_min: u64,
}

impl WindowSize {
    fn span_ms(self) -> u64 {
        u64::try_from(self.span.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The end of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum WindowEnd<T> {
    Full(T),
    /// Too few samples for a long time.
    Stale,
}

/// The result of a window of latencies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Percentile {
    pub(super) p95: Duration,
    pub(super) samples: u64,
}

/// An open window of latencies.
#[derive(Clone, Debug)]
pub(super) struct Window {
    began_ms: u64,
    from: LatencySnapshot,
}

impl Window {
    pub(super) fn begin(now_ms: u64, seen: &LatencySnapshot) -> Self {
        Self {
            began_ms: now_ms,
            from: seen.clone(),
        }
    }

    /// The result if the window is full; then the next one begins.
    pub(super) fn close(
        &mut self,
        now_ms: u64,
        seen: &LatencySnapshot,
        size: WindowSize,
    ) -> Option<WindowEnd<Percentile>> {
        let age = now_ms.saturating_sub(self.began_ms);
        if age < size.span_ms() {
            return None;
        }
        let closed = match self.tail(seen) {
            Some(tail) if tail.samples >= size.samples_min => WindowEnd::Full(tail),
            _ if age >= size.span_ms().saturating_mul(STALE_AFTER) => WindowEnd::Stale,
            _ => return None,
        };
        *self = Self::begin(now_ms, seen);
        Some(closed)
    }

    /// The result so far.
    pub(super) fn tail(&self, seen: &LatencySnapshot) -> Option<Percentile> {
        let window = seen.since(&self.from);
        let p95 = window.quantile(SHARE)?;
        Some(Percentile {
            p95,
            samples: window.count(),
        })
    }
}

/// An open window of discovery requests.
#[derive(Clone, Debug)]
pub(super) struct FailureWindow {
    began_ms: u64,
    from: Requests,
}

#[derive(Clone, Debug)]
struct Requests {
    rest: LatencySnapshot,
    failed: u64,
    answered: u64,
}

impl Requests {
    fn of(sources: &Measurements) -> Self {
        Self {
            rest: sources.of(Measured::Discover).clone(),
            failed: sources.failed + sources.amqp_failed,
            answered: sources.amqp_answered,
        }
    }
}

impl FailureWindow {
    pub(super) fn begin(now_ms: u64, sources: &Measurements) -> Self {
        Self {
            began_ms: now_ms,
            from: Requests::of(sources),
        }
    }

    /// The share of failed requests if the window is full; then the next one begins.
    pub(super) fn close(
        &mut self,
        now_ms: u64,
        sources: &Measurements,
        size: WindowSize,
    ) -> Option<WindowEnd<f64>> {
        let age = now_ms.saturating_sub(self.began_ms);
        if age < size.span_ms() {
            return None;
        }
        let seen = Requests::of(sources);
        let failed = seen.failed.saturating_sub(self.from.failed);
        let answered = seen.rest.since(&self.from.rest).count()
            + seen.answered.saturating_sub(self.from.answered);
        let closed = if failed + answered >= size.samples_min {
            WindowEnd::Full(share(failed, failed + answered))
        } else if age >= size.span_ms().saturating_mul(STALE_AFTER) {
            WindowEnd::Stale
        } else {
            return None;
        };
        *self = Self::begin(now_ms, sources);
        Some(closed)
    }
}

/// `part` as a share of `whole`.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts within a window are far below 2^52"
)]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// Milliseconds with a fraction.
pub(super) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
