//! When changes may be published: the channel's mode uses the broker, the connection is up, and the daemon's
//! own events are consumed if needed.

use tokio::sync::watch;

use super::{
    EventConsumer, Link, LinkState, LoopbackDemand, UnconfirmedSince, event_consumer::ConsumerRun,
};
use crate::{
    model::{Channel, FlagState, Revision},
    registry::Compacted,
    transport::{Feed, FeedSnapshot, Found, HighWatermark, LogFeed},
};

/// In place of a binding: those of the event consumer count from 1.
const UNHEARD: u64 = 0;

/// Open while a channel's changes may be published.
#[derive(Debug)]
pub(super) struct PublishGate {
    channel: Channel,
    flag: watch::Receiver<FlagState>,
    link: Link,
    state: watch::Receiver<LinkState>,
    bound: watch::Receiver<ConsumerRun>,
    demand: LoopbackDemand,
}

impl PublishGate {
    pub(super) fn new(
        channel: Channel,
        flag: watch::Receiver<FlagState>,
        link: &Link,
        consumer: &EventConsumer,
        demand: LoopbackDemand,
    ) -> Self {
        Self {
            channel,
            flag,
            state: link.follow(),
            link: link.clone(),
            bound: consumer.follow(),
            demand,
        }
    }

    /// The binding of the event consumer under which it is open now, [`UNHEARD`] when its events are not needed;
    /// none while it is closed. A consumer that is needed is bound before anything is sent over a new
    /// connection, so that it gets all of it.
    fn binding(&mut self) -> Option<u64> {
        let wanted = self.is_wanted();
        let needed = self.demand.is_needed();
        self.state.mark_unchanged();
        let bound = *self.bound.borrow_and_update();
        let usage = self.link.usage()?;
        let heard = bound.connection == usage.number();
        let binding = if heard { bound.binding } else { UNHEARD };
        (wanted && (heard || !needed)).then_some(binding)
    }

    fn is_wanted(&mut self) -> bool {
        let modes = self.flag.borrow_and_update().modes;
        modes.of(self.channel).uses_broker()
    }

    async fn changed(&mut self) -> bool {
        tokio::select! {
            changed = self.flag.changed() => changed.is_ok(),
            changed = self.state.changed() => changed.is_ok(),
            changed = self.bound.changed() => changed.is_ok(),
            changed = self.demand.changed() => changed,
        }
    }
}

/// The log while the gate is open. While it is closed the subscriber's cursor does not move.
#[derive(Debug)]
pub(super) struct GatedFeed {
    feed: LogFeed,
    gate: PublishGate,
    watermark: HighWatermark,
    unconfirmed: UnconfirmedSince,
    /// The binding under which it is open.
    open: Option<u64>,
}

impl GatedFeed {
    /// When the gate opens, what was confirmed before becomes visible.
    pub(super) fn new(
        feed: LogFeed,
        gate: PublishGate,
        watermark: HighWatermark,
        unconfirmed: UnconfirmedSince,
    ) -> Self {
        Self {
            feed,
            gate,
            watermark,
            unconfirmed,
            open: None,
        }
    }
}

impl Feed for GatedFeed {
    fn look(&mut self, after: Revision) -> Result<Found, Compacted> {
        let binding = self.gate.binding();
        let before = std::mem::replace(&mut self.open, binding);
        if binding.is_some() {
            if before != binding {
                // It was confirmed, perhaps while nothing consumed it: then the broker never returns it.
                self.watermark.raise(after);
            }
            return self.feed.look(after);
        }
        if !self.gate.is_wanted() {
            // Nothing is sent, so no confirm is waited for.
            self.unconfirmed.answered();
        }
        Ok(Found {
            events: Vec::new(),
            up_to: after,
            more: false,
        })
    }

    fn is_open(&mut self) -> bool {
        self.gate.binding().is_some()
    }

    fn snapshot(&self) -> FeedSnapshot {
        self.feed.snapshot()
    }

    async fn changed(&mut self) -> bool {
        if self.open.is_none() {
            return self.gate.changed().await;
        }
        tokio::select! {
            more = self.feed.changed() => more,
            more = self.gate.changed() => more,
        }
    }
}
