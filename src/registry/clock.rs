//! Two clocks: a monotonic one that leases follow, and the wall clock that people read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use tokio::time::Instant;

use crate::model::Timestamp;

/// A wall clock that is off by more than this, in milliseconds, was set.
const DRIFT_MS_MAX: i64 = 20;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Milliseconds since the registry started; never jumps.
    pub mono_ms: u64,
    /// The wall clock's time.
    pub wall: Timestamp,
}

/// Both clocks, as a cheap, cloneable handle.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    /// Wall clock minus monotonic clock; kept so that one moment always reads the same.
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Two clocks that start now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            offset_ms: Arc::new(AtomicI64::new(system_ms())),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Now {
        let mono_ms = self.mono_ms();
        Now {
            mono_ms,
            wall: self.wall_of(mono_ms),
        }
    }

    /// The wall clock's time of a moment on the monotonic one.
    pub fn wall_of(&self, mono_ms: u64) -> Timestamp {
        let offset = self.offset_ms.load(Ordering::Relaxed);
        Timestamp(offset.saturating_add_unsigned(mono_ms))
    }

    /// The instant to sleep until for a moment on the monotonic clock.
    pub fn instant_of(&self, mono_ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(mono_ms)
    }

    fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes over the wall clock's time after it was set.
    pub fn follow_wall(&self) {
        let offset = system_ms().saturating_sub_unsigned(self.mono_ms());
        let known = self.offset_ms.load(Ordering::Relaxed);
        if (offset - known).abs() > DRIFT_MS_MAX {
            self.offset_ms.store(offset, Ordering::Relaxed);
        }
    }
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Microseconds since 1970 by the wall clock.
pub(super) fn system_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2)
    })
}
