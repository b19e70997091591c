//! The scheduled probes that are under way: so many at once, and each leaves its place in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::task::{JoinError, JoinSet};

use super::Shared;
use crate::health::{
    meters::Meters,
    table::{Ended, Turn},
};

#[derive(Debug)]
pub(super) struct Probes {
    set: JoinSet<()>,
    max: usize,
    n_slow: Arc<AtomicUsize>,
}

/// How many probes may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) places: usize,
    /// Of these, how many may be of checks that timed out last time: half of all, so that they
    /// never hold up the others.
    pub(super) slow_places: usize,
}

impl Probes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            set: JoinSet::new(),
            max: max.max(1),
            n_slow: Arc::default(),
        }
    }

    pub(super) fn room(&self) -> Room {
        let n_slow = self.n_slow.load(Ordering::Relaxed);
        Room {
            places: self.max.saturating_sub(self.set.len()),
            slow_places: self.max.div_ceil(2).saturating_sub(n_slow),
        }
    }

    pub(super) fn start(&mut self, shared: &Arc<Shared>, turn: Turn) {
        let place = Place::new(Arc::clone(shared), turn, &self.n_slow);
        self.set.spawn(place.probe());
    }

    /// Waits for the end of a probe, then takes all that have ended.
    pub(super) async fn ended(&mut self) {
        match self.set.join_next().await {
            Some(first) => tell_of_panic(first),
            None => std::future::pending().await,
        }
        while let Some(next) = self.set.try_join_next() {
            tell_of_panic(next);
        }
    }

    /// Breaks all probes off, and returns when they have ended.
    pub(super) async fn stop(mut self) {
        self.set.shutdown().await;
    }
}

fn tell_of_panic(joined: Result<(), JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!(%error, "a probe panicked; its check goes on with its next turn");
    }
}

/// A turn on its way. Whatever happens to it, the check gets its next turn and the place is free.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    turn: Turn,
    n_slow: Option<Arc<AtomicUsize>>,
    ended: Option<Ended>,
}

impl Place {
    fn new(shared: Arc<Shared>, turn: Turn, n_slow: &Arc<AtomicUsize>) -> Self {
        let n_slow = turn.slow.then(|| Arc::clone(n_slow));
        if let Some(n_slow) = &n_slow {
            n_slow.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            shared,
            turn,
            n_slow,
            ended: None,
        }
    }

    async fn probe(mut self) {
        let late_ms = self.shared.now_ms().saturating_sub(self.turn.due_ms);
        let late = Duration::from_millis(late_ms);
        self.shared.meters.lateness.observe(late.as_secs_f64());
        self.ended = Some(self.shared.probe_by_mode(&self.turn).await);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut following = self.shared.following.lock();
        if let Some(ended) = self.ended.take() {
            self.shared.judge(&mut following, &self.turn, ended);
        }
        let now_ms = self.shared.now_ms();
        following.table.book_next(&self.turn, now_ms);
        drop(following);
        if let Some(n_slow) = &self.n_slow {
            n_slow.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts a probe for as long as it runs.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Meters);

impl<'a> InFlight<'a> {
    pub(super) fn new(meters: &'a Meters) -> Self {
        meters.in_flight.inc();
        Self(meters)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}
