//! How many lines one place in the code may log: what clients do must not fill the disk.
//!
//! Errors, and what only an operator asks for (debug, trace), are not limited.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

/// Lines in a row from one place.
const BURST: u64 = 50;
/// Then one line each 200 ms.
const PAUSE_MS: u64 = 200;

/// The places that have logged.
#[derive(Debug)]
pub(super) struct Rates {
    began: Instant,
    places: papaya::HashMap<Identifier, Arc<LogSite>>,
    reported_ms: Mutex<u64>,
}

/// One line of the code that logs.
#[derive(Debug)]
struct LogSite {
    name: String,
    /// When the next line would be due if they came evenly, in milliseconds.
    next_ms: AtomicU64,
    left_out: AtomicU64,
}

impl Rates {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            places: papaya::HashMap::new(),
            reported_ms: Mutex::new(0),
        })
    }

    /// Whether a line may be logged; counts it if not.
    fn admits(&self, metadata: &'static Metadata<'static>) -> bool {
        if !matches!(*metadata.level(), Level::INFO | Level::WARN) {
            return true;
        }
        let places = self.places.pin();
        let place = places.get_or_insert_with(metadata.callsite(), || LogSite::of(metadata));
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        place.admits(now)
    }

    /// One sentence for each place that left lines out since the last call; at most one call each
    /// [`REPORT_MS`] says something.
    pub(super) fn left_out(&self) -> Vec<String> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut reported_ms = self.reported_ms.lock();
        if now < *reported_ms + REPORT_MS {
            return Vec::new();
        }
        *reported_ms = now;
        let places = self.places.pin();
        let reports = places.values().filter_map(|place| place.report());
        reports.collect()
    }
}

/// The shortest time between two reports.
const REPORT_MS: u64 = 5_000;

impl LogSite {
    fn of(metadata: &Metadata<'_>) -> Arc<Self> {
        let line = metadata.line().unwrap_or(0);
        Arc::new(Self {
            name: format!("{}:{line}", metadata.target()),
            next_ms: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    fn admits(&self, now_ms: u64) -> bool {
        let book = |next: u64| {
            let next = next.max(now_ms);
            (next <= now_ms + (BURST - 1) * PAUSE_MS).then_some(next + PAUSE_MS)
        };
        let booked = self
            .next_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, book);
        if booked.is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        booked.is_ok()
    }

    fn report(&self) -> Option<String> {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        (left_out > 0).then(|| {
            format!(
                "{left_out} log lines of {} were left out: too many",
                self.name
            )
        })
    }
}

/// The filter of the layer that writes.
#[derive(Clone, Debug)]
pub(super) struct Limited(pub(super) Arc<Rates>);

impl<S: Subscriber> Filter<S> for Limited {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.admits(event.metadata())
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, LogSite, PAUSE_MS};

    fn place() -> LogSite {
        LogSite {
            name: "musterd::here:7".to_owned(),
            next_ms: 0.into(),
            left_out: 0.into(),
        }
    }

    #[test]
    fn a_burst_passes_and_then_one_line_each_pause() {
        let place = place();
        let passed = |at| (0..1_000).filter(|_| place.admits(at)).count() as u64;
        assert_eq!(passed(0), BURST);
        assert_eq!(passed(PAUSE_MS - 1), 0);
        assert_eq!(passed(PAUSE_MS), 1);
        assert_eq!(passed(11 * PAUSE_MS), 10);
        // After a long rest a whole burst passes again, and no more.
        assert_eq!(passed(1_000 * BURST * PAUSE_MS), BURST);
    }

    #[test]
    fn suppressed_lines_are_reported_once() {
        let place = place();
        assert_eq!(place.report(), None);
        let refused = (0..BURST + 3).filter(|_| !place.admits(0)).count();
        assert_eq!(refused, 3);
        let expected = "3 log lines of musterd::here:7 were left out: too many";
        assert_eq!(place.report().as_deref(), Some(expected));
        assert_eq!(place.report(), None);
    }
}
