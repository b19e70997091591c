//! Places that many peers share: slow and unknown peers can never take all of them.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A peer that takes this long or longer is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How long a peer took the last time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pace {
    /// Less than a second.
    Fast,
    /// Unknown: it was never asked.
    #[default]
    New,
    /// A second or more.
    Slow,
}

impl Pace {
    /// The pace of a peer that took so long.
    pub fn of(took: Duration) -> Self {
        if took < SLOW_AFTER {
            Self::Fast
        } else {
            Self::Slow
        }
    }
}

/// How many places there are or are left, and how many of them peers of each pace may take together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shares {
    /// All of them, for fast peers.
    pub all: usize,
    /// Three quarters, for slow and new peers together.
    pub unproven: usize,
    /// Half, for slow peers.
    pub slow: usize,
}

impl Shares {
    /// The shares of `max` places; each is at least one.
    pub fn of(max: usize) -> Self {
        let all = max.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            all,
            unproven: (all - all.div_ceil(4)).max(1),
            slow: (all / 2).max(1),
        }
    }

    /// True when a peer of this pace may take one.
    pub fn admits(&self, pace: Pace) -> bool {
        let unproven = pace == Pace::Fast || self.unproven > 0;
        let slow = pace != Pace::Slow || self.slow > 0;
        self.all > 0 && unproven && slow
    }

    /// Takes one for a peer of this pace.
    pub fn take(&mut self, pace: Pace) {
        self.all = self.all.saturating_sub(1);
        self.unproven = self
            .unproven
            .saturating_sub(usize::from(pace != Pace::Fast));
        self.slow = self.slow.saturating_sub(usize::from(pace == Pace::Slow));
    }

    /// Gives one back.
    pub fn give_back(&mut self, pace: Pace) {
        self.all += 1;
        self.unproven += usize::from(pace != Pace::Fast);
        self.slow += usize::from(pace == Pace::Slow);
    }
}

/// A number of places. Those who wait for one get it in the order in which they came, by pace.
#[derive(Clone, Debug)]
pub struct SharedPlaces {
    all: Arc<Semaphore>,
    unproven: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct TakenPlace {
    _permits: [Option<OwnedSemaphorePermit>; 3],
}

impl SharedPlaces {
    /// `max` places, at least one.
    pub fn new(max: usize) -> Self {
        let shares = Shares::of(max);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            all: semaphore(shares.all),
            unproven: semaphore(shares.unproven),
            slow: semaphore(shares.slow),
        }
    }

    /// Waits for a place.
    pub async fn enter(&self, pace: Pace) -> TakenPlace {
        let is_slow = pace == Pace::Slow;
        let is_unproven = pace != Pace::Fast;
        // The narrowest share first, so that no request holds a place of a wider one while it waits.
        TakenPlace {
            _permits: [
                permit(&self.slow, is_slow).await,
                permit(&self.unproven, is_unproven).await,
                permit(&self.all, true).await,
            ],
        }
    }
}

/// None where none is needed; these semaphores are never closed.
async fn permit(semaphore: &Arc<Semaphore>, needed: bool) -> Option<OwnedSemaphorePermit> {
    if !needed {
        return None;
    }
    Arc::clone(semaphore).acquire_owned().await.ok()
}

#[cfg(test)]
mod tests;
