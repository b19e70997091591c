//! Where a subscriber's events come from: the registry's log, read at the subscriber's own pace.

use std::sync::Arc;

use tokio::sync::watch;

use super::{FeedSnapshot, Filter, HighWatermark, HighWatermarkReader};
use crate::{
    model::{Event, Revision, ServiceName},
    registry::{Compacted, Following, Registry},
};

/// Events read at once by default.
const BATCH: usize = 64;

/// A source of events for one subscriber.
pub trait Feed: Send {
    /// The events after `after` that the subscriber gets, oldest first, without waiting.
    ///
    /// # Errors
    /// Some of them are no longer in the log: the subscriber needs a snapshot.
    fn look(&mut self, after: Revision) -> Result<Found, Compacted>;

    /// Whether events and snapshots may be delivered now. If not, `changed` waits until they may.
    fn is_open(&mut self) -> bool {
        true
    }

    /// The current state of everything that the subscriber follows.
    fn snapshot(&self) -> FeedSnapshot;

    /// Waits until a look may find more than the last one did; true, sometimes without a change. False when
    /// there will be no further event. Cancel safe.
    fn changed(&mut self) -> impl Future<Output = bool> + Send;
}

/// The result of a read.
#[derive(Debug)]
pub struct Found {
    /// Wanted events, in order.
    pub events: Vec<Arc<Event>>,
    /// Everything wanted up to here is among them.
    pub up_to: Revision,
    /// True when there may be more events already.
    pub more: bool,
}

/// Reads the registry's log through a filter that can change at any time.
#[derive(Debug)]
pub struct LogFeed {
    registry: Registry,
    filter: watch::Receiver<Filter>,
    /// The newest change that is visible in every service.
    newest: watch::Receiver<Revision>,
    waker: Waker,
    watermark: HighWatermarkReader,
    /// True when the last look found events beyond the watermark.
    held: bool,
    batch: usize,
}

/// The source of wake-ups: changes of its service only, or all changes.
#[derive(Debug)]
enum Waker {
    All(watch::Receiver<Revision>),
    One(Following),
}

impl LogFeed {
    /// Reads the events that the filter selects.
    pub fn new(registry: Registry, mut filter: watch::Receiver<Filter>) -> Self {
        let service = filter.borrow_and_update().service.clone();
        Self {
            newest: registry.follow(),
            waker: Waker::new(&registry, service.as_ref()),
            registry,
            filter,
            watermark: HighWatermark::default().reader(),
            held: false,
            batch: BATCH,
        }
    }

    /// Reads only up to the watermark.
    #[must_use]
    pub fn within(mut self, watermark: &HighWatermark) -> Self {
        self.watermark = watermark.reader();
        self
    }

    /// Reads so many events at once.
    #[must_use]
    pub fn in_batches(mut self, of: usize) -> Self {
        self.batch = of.max(1);
        self
    }

    /// Takes a new filter and returns where it starts. Events that wait under the old filter are kept; events
    /// that it left out are not delivered later.
    fn change_filter(&mut self, after: Revision) -> Revision {
        let newest = *self.newest.borrow();
        let waiting = self.waker.read(&self.registry, after, 1);
        let service = self.filter.borrow_and_update().service.clone();
        self.waker = Waker::new(&self.registry, service.as_ref());
        match waiting {
            Ok(events) if events.is_empty() => after.max(newest),
            _ => after,
        }
    }
}

impl Waker {
    fn new(registry: &Registry, service: Option<&ServiceName>) -> Self {
        match service {
            None => Self::All(registry.follow()),
            Some(name) => Self::One(registry.follow_service(name)),
        }
    }

    fn read(
        &self,
        registry: &Registry,
        after: Revision,
        max: usize,
    ) -> Result<Vec<Arc<Event>>, Compacted> {
        match self {
            Self::All(_) => registry.since(after, max),
            Self::One(following) => registry.since_of(following.service(), after, max),
        }
    }

    async fn changed(&mut self) -> bool {
        match self {
            Self::All(newest) => newest.changed().await.is_ok(),
            Self::One(following) => {
                following.changed().await;
                true
            }
        }
    }
}

impl Feed for LogFeed {
    fn look(&mut self, after: Revision) -> Result<Found, Compacted> {
        let mut after = after;
        if self.filter.has_changed().unwrap_or(false) {
            after = self.change_filter(after);
        }
        // Read before the events, so that none up to here can be missing among them.
        let newest = *self.newest.borrow();
        let limit = self.watermark.limit();
        let mut events = self.waker.read(&self.registry, after, self.batch)?;
        let mut more = events.len() == self.batch;
        let visible = match limit {
            Some(limit) => events.partition_point(|event| event.revision <= limit),
            None => events.len(),
        };
        self.held = visible < events.len();
        more &= !self.held;
        events.truncate(visible);
        let newest = limit.map_or(newest, |limit| newest.min(limit));
        let last = events.last().map_or(after, |event| event.revision);
        let filter = self.filter.borrow();
        events.retain(|event| filter.wants(event));
        Ok(Found {
            events,
            up_to: if more { last } else { last.max(newest) },
            more,
        })
    }

    fn snapshot(&self) -> FeedSnapshot {
        FeedSnapshot::take(&self.registry, &self.filter.borrow())
    }

    async fn changed(&mut self) -> bool {
        // Once its owner is gone, the filter does not change any more.
        let filter = async {
            if self.filter.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let woken = tokio::select! {
            () = filter => None,
            alive = self.waker.changed() => Some(alive),
            // A reader without held events need not watch the high watermark.
            raised = self.watermark.changed(), if self.held => Some(raised),
        };
        match woken {
            // So that the next look sees the change.
            None => self.filter.mark_changed(),
            Some(alive) => return alive,
        }
        true
    }
}

#[cfg(test)]
mod tests;
