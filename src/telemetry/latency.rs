//! Latencies whose recent past can be asked for: fixed histograms, and what was added between two looks.
//! An observation costs one relaxed atomic addition; nothing here decides anything.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Steps per doubling: a bucket is at most 1/16 wide, so its middle is at most 3 % off.
const STEPS: usize = 16;
/// Durations are counted in sixteenths of a microsecond, so that the steps hold from 1 µs on.
const UNITS_PER_US: u64 = 16;
/// The last bucket begins beyond 60 s; whatever is longer is in it.
const BUCKETS: usize = STEPS * 27;

/// A histogram from below 1 µs to 60 s.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU32]>,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

impl Latency {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        // Counts wrap around: what matters are differences.
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far, to be compared with later ones.
    pub fn snapshot(&self) -> LatencySnapshot {
        let buckets = self.buckets.iter();
        LatencySnapshot {
            buckets: buckets.map(|one| one.load(Ordering::Relaxed)).collect(),
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LatencySnapshot {
    buckets: Box<[u32]>,
}

impl Default for LatencySnapshot {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into(),
        }
    }
}

impl LatencySnapshot {
    /// The counts since an earlier snapshot.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: pairs.map(|(now, then)| now.wrapping_sub(*then)).collect(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|n| u64::from(*n)).sum()
    }

    /// The duration that the given share, 0 to 1, of all does not exceed; none where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let mut left = rank(share, count)?;
        for (at, n) in self.buckets.iter().enumerate() {
            left = left.saturating_sub(u64::from(*n));
            if left == 0 {
                return Some(middle(at));
            }
        }
        None
    }

    /// Counts one here, as a histogram would have.
    pub fn add(&mut self, took: Duration) {
        let bucket = &mut self.buckets[bucket(took)];
        *bucket = bucket.wrapping_add(1);
    }
}

/// Which of `count` in a row is the one, counted from 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rank is between 1 and the count, which is far below 2^52"
)]
fn rank(share: f64, count: u64) -> Option<u64> {
    let rank = (share.clamp(0.0, 1.0) * count as f64).ceil() as u64;
    (count > 0).then_some(rank.max(1))
}

fn bucket(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let units = nanos.saturating_mul(UNITS_PER_US) / 1_000;
    let Some(doublings) = units.checked_ilog2().and_then(|log| log.checked_sub(4)) else {
        return usize::try_from(units).unwrap_or(0);
    };
    let step = usize::try_from((units >> doublings) & 15).unwrap_or(0);
    let at = STEPS * (usize::try_from(doublings).unwrap_or(0) + 1) + step;
    at.min(BUCKETS - 1)
}

/// The duration in the middle of a bucket.
fn middle(at: usize) -> Duration {
    let (row, step) = (at / STEPS, (at % STEPS) as u64);
    let (from, width) = match row {
        0 => (step, 1),
        _ => ((16 + step) << (row - 1), 1 << (row - 1)),
    };
    Duration::from_nanos((2 * from + width) * 1_000 / (2 * UNITS_PER_US))
}

/// The daemon's latencies, shared by the tasks that measure and those that judge them.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Answering registrations.
    pub register: Latency,
    /// Answering discovery requests.
    pub discover: Latency,
    /// From a change to its delivery to a callback.
    pub delivery: Latency,
    discover_failed: AtomicU64,
}

impl Latencies {
    /// A discovery request failed for a reason of the daemon's own.
    pub fn discover_failed(&self) {
        self.discover_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many did.
    pub fn discover_failures(&self) -> u64 {
        self.discover_failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
