//! The scheduled probes under way: limited in number, and each frees its place however it ends.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};

use super::Shared;
use crate::{
    health::{
        meters::Meters,
        table::{Ended, Turn},
    },
    outbound::Shares,
};

#[derive(Debug)]
pub(super) struct Probes {
    set: JoinSet<()>,
    free: Arc<Mutex<Shares>>,
}

impl Probes {
    pub(super) fn new(max: usize) -> Self {
        Self {
            set: JoinSet::new(),
            free: Arc::new(Mutex::new(Shares::of(max))),
        }
    }

    /// The places that are free.
    pub(super) fn free(&self) -> Shares {
        *self.free.lock()
    }

    pub(super) fn start(&mut self, shared: &Arc<Shared>, turn: Turn) {
        let place = Place::new(Arc::clone(shared), turn, &self.free);
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

    /// Aborts all probes, and returns when they have ended.
    pub(super) async fn stop(mut self) {
        self.set.shutdown().await;
    }
}

fn tell_of_panic(joined: Result<(), JoinError>) {
    if let Err(error) = joined
        && error.is_panic()
    {
        tracing::error!(%error, "a probe panicked; its check is probed again at its next interval");
    }
}

/// A probe under way. However it ends, the check is booked again and the place is free.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    turn: Turn,
    free: Arc<Mutex<Shares>>,
    ended: Option<Ended>,
}

impl Place {
    fn new(shared: Arc<Shared>, turn: Turn, free: &Arc<Mutex<Shares>>) -> Self {
        free.lock().take(turn.pace);
        Self {
            shared,
            turn,
            free: Arc::clone(free),
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
        self.free.lock().give_back(self.turn.pace);
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
