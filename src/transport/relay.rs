//! The loop of one subscriber: look, act; when idle and stopping, return; wait.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Circuit, DeliveryError, Feed, FeedSnapshot, Next, Offer, Subscriber, metrics::DeliveryCounters,
};
use crate::{model::Event, registry::Clock};

/// Delivers to one receiver.
///
/// An implementation delivers in order, reports each event through [`DeliveryProgress::reached`] once the
/// receiver has taken it, and returns at the first one that failed. That event is then passed again
/// later: delivery is at least once.
pub trait Transport: Send {
    /// Delivers the events in order. Reported events are not passed again.
    fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// Sends the current state in place of events that the receiver missed.
    fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        progress: &DeliveryProgress<'_>,
    ) -> impl Future<Output = Result<(), DeliveryError>> + Send;
}

/// Where a transport reports delivered events, and what it may know about its receiver.
#[derive(Debug)]
pub struct DeliveryProgress<'a> {
    subscriber: &'a Mutex<Subscriber>,
    clock: &'a Clock,
    counts: &'a DeliveryCounters,
}

impl<'a> DeliveryProgress<'a> {
    fn of(
        subscriber: &'a Mutex<Subscriber>,
        clock: &'a Clock,
        counts: &'a DeliveryCounters,
    ) -> Self {
        Self {
            subscriber,
            clock,
            counts,
        }
    }

    /// The receiver has taken the event: its cursor moves.
    pub fn reached(&self, event: &Event) {
        let now = self.clock.now().wall;
        self.subscriber.lock().delivered(event.revision, now);
        self.counts.delivered(event.timestamp, now);
    }

    /// True when the receiver failed the last time.
    pub fn is_failing(&self) -> bool {
        self.subscriber.lock().is_failing()
    }
}

/// Moves events from a feed to one receiver, at that receiver's pace.
#[derive(Debug)]
pub struct Relay<F, T> {
    label: String,
    feed: F,
    transport: T,
    subscriber: Arc<Mutex<Subscriber>>,
    clock: Clock,
    counts: DeliveryCounters,
    /// The last snapshot, while it covers events that the feed has not returned yet.
    recent: Option<Arc<FeedSnapshot>>,
}

/// Why a relay ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It was stopped, and nothing was left to deliver.
    Drained,
    /// It was stopped, and the receiver did not take what was left.
    Undelivered,
    /// The receiver ended its deliveries.
    Gone,
    /// Nothing will ever come again.
    Closed,
}

/// The result of one iteration.
enum RelayStep {
    Moved,
    Idle,
    Failed(Instant),
    Gone,
}

impl<F: Feed, T: Transport> Relay<F, T> {
    /// Moves events that `subscriber` has not had from `feed` to `transport`.
    /// `label` is its name in the log.
    pub fn new(
        label: String,
        feed: F,
        transport: T,
        subscriber: Arc<Mutex<Subscriber>>,
        clock: Clock,
        counts: DeliveryCounters,
    ) -> Self {
        Self {
            label,
            feed,
            transport,
            subscriber,
            clock,
            counts,
            recent: None,
        }
    }

    /// Runs until `stop` and nothing is left to deliver, or until the receiver or the feed ends.
    ///
    /// After `stop` a failing receiver is retried until its circuit is open.
    pub async fn run(&mut self, stop: &CancellationToken) -> Ended {
        loop {
            let before = self.is_open();
            let step = self.step().await;
            if let Some(ended) = self.until_next(step, before, stop).await {
                return ended;
            }
        }
    }

    /// Runs like [`Self::run`], for one of many subscribers: a panic is logged and counts as a failed delivery, which
    /// is retried.
    pub async fn run_caught(&mut self, stop: &CancellationToken) -> Ended {
        loop {
            // The cursor moves only with what was delivered, so a panic leaves nothing half done.
            let run = AssertUnwindSafe(self.run(stop)).catch_unwind();
            if let Ok(ended) = run.await {
                return ended;
            }
            let label = &*self.label;
            tracing::error!(
                subscriber = label,
                "{label} panicked; the delivery is retried"
            );
            let before = self.is_open();
            let step = self.failed(&DeliveryError::Panicked);
            if let Some(ended) = self.until_next(step, before, stop).await {
                return ended;
            }
        }
    }

    /// Waits until the step after this one is due; why it ended, if it did.
    async fn until_next(
        &mut self,
        step: RelayStep,
        was_open: bool,
        stop: &CancellationToken,
    ) -> Option<Ended> {
        let open = self.is_open();
        self.log_circuit(was_open, open);
        match step {
            RelayStep::Moved => (),
            // It stops only here, with nothing left to deliver, so that the last change before a
            // shutdown is never dropped.
            RelayStep::Idle if stop.is_cancelled() => return Some(Ended::Drained),
            RelayStep::Idle => tokio::select! {
                () = stop.cancelled() => (),
                more = self.feed.changed() => if !more { return Some(Ended::Closed) },
            },
            RelayStep::Failed(_) if stop.is_cancelled() && open => return Some(Ended::Undelivered),
            RelayStep::Failed(due) if stop.is_cancelled() => sleep_until(due).await,
            RelayStep::Failed(due) => tokio::select! {
                () = stop.cancelled() => (),
                () = sleep_until(due) => (),
            },
            RelayStep::Gone => return Some(Ended::Gone),
        }
        None
    }

    fn is_open(&self) -> bool {
        self.subscriber.lock().circuit(Instant::now()) != Circuit::Closed
    }

    /// Logs changes of the circuit, not each attempt.
    fn log_circuit(&self, before: bool, open: bool) {
        let label = &*self.label;
        if open && !before {
            let subscriber = self.subscriber.lock();
            let failures = subscriber.failures();
            let error = subscriber.record.last_error.as_deref().unwrap_or_default();
            tracing::warn!(
                subscriber = label,
                failures,
                "{label} failed {failures} times in a row: {error}; the next attempts are up to transport.circuit_open apart"
            );
        } else if before && !open {
            tracing::info!(subscriber = label, "{label} takes events again");
        }
    }

    /// Reads the log again each time, so that no events are kept in memory while a receiver is slow.
    async fn step(&mut self) -> RelayStep {
        let (lost, cursor) = {
            let subscriber = self.subscriber.lock();
            (subscriber.is_lost(), subscriber.cursor())
        };
        if lost && !self.feed.is_open() {
            return RelayStep::Idle;
        }
        if lost {
            return self.resync().await;
        }
        let Ok(found) = self.feed.look(cursor.revision) else {
            self.subscriber.lock().lose();
            return RelayStep::Moved;
        };
        let idle = found.events.is_empty() && !found.more;
        let events = self.wanted(found.events);
        if !events.is_empty() {
            let progress = DeliveryProgress::of(&self.subscriber, &self.clock, &self.counts);
            if let Err(error) = self.transport.deliver(&events, &progress).await {
                return self.failed(&error);
            }
        }
        self.subscriber.lock().pass(found.up_to);
        if idle {
            RelayStep::Idle
        } else {
            RelayStep::Moved
        }
    }

    /// Leaves out events that the subscriber had already, also in its last snapshot.
    fn wanted(&mut self, mut events: Vec<Arc<Event>>) -> Vec<Arc<Event>> {
        let subscriber = self.subscriber.lock();
        events.retain(|event| subscriber.offer(event) == Offer::Deliver);
        if let Some(snapshot) = &self.recent {
            events.retain(|event| !snapshot.state.covers(event));
            if subscriber.cursor().revision >= snapshot.state.covered_until() {
                self.recent = None;
            }
        }
        events
    }

    async fn resync(&mut self) -> RelayStep {
        let snapshot = Arc::new(self.feed.snapshot());
        let revision = snapshot.cursor.revision;
        let progress = DeliveryProgress::of(&self.subscriber, &self.clock, &self.counts);
        match self.transport.resync(&snapshot, &progress).await {
            Ok(()) => {
                let now = self.clock.now().wall;
                self.subscriber.lock().resynced(revision, now);
                self.counts.resynced();
                self.recent = (snapshot.state.covered_until() > revision).then_some(snapshot);
                RelayStep::Moved
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &DeliveryError) -> RelayStep {
        self.counts.failed(error);
        let mut subscriber = self.subscriber.lock();
        match subscriber.failed(error, Instant::now(), fastrand::f64()) {
            Next::Retry(due) => RelayStep::Failed(due),
            Next::End => RelayStep::Gone,
        }
    }
}

/// Makes one delivery; a panic in it is an error.
pub(super) async fn caught(
    delivery: impl Future<Output = Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    match AssertUnwindSafe(delivery).catch_unwind().await {
        Ok(delivered) => delivered,
        Err(_) => Err(DeliveryError::Panicked),
    }
}

#[cfg(test)]
mod tests;
