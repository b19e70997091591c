//! When changes may leave over the broker: its mode wants it, the connection is there, and whoever
//! listens on our behalf listens.

use tokio::sync::watch;

use super::{Demand, Link, Owed, State, Tail, tail::Bound};
use crate::{
    model::{Channel, FlagState, Revision},
    registry::Compacted,
    transport::{Feed, Found, Horizon, LogFeed, Snapshot},
};

/// In place of a binding: those of the tail count from 1.
const UNHEARD: u64 = 0;

/// Open while a channel's changes may leave.
#[derive(Debug)]
pub(super) struct Gate {
    channel: Channel,
    flag: watch::Receiver<FlagState>,
    link: Link,
    state: watch::Receiver<State>,
    bound: watch::Receiver<Bound>,
    demand: Demand,
}

impl Gate {
    pub(super) fn new(
        channel: Channel,
        flag: watch::Receiver<FlagState>,
        link: &Link,
        tail: &Tail,
        demand: Demand,
    ) -> Self {
        Self {
            channel,
            flag,
            state: link.follow(),
            link: link.clone(),
            bound: tail.follow(),
            demand,
        }
    }

    /// Under which binding of the tail it is open now, [`UNHEARD`] when nobody needs what it would hear;
    /// none while it is not open. A tail that is needed listens before anything is sent over a new
    /// connection, so that it hears all of it.
    fn binding(&mut self) -> Option<u64> {
        let wanted = self.is_wanted();
        let needed = self.demand.stands();
        self.state.mark_unchanged();
        let bound = *self.bound.borrow_and_update();
        let session = self.link.session()?;
        let heard = bound.session == session.number();
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

/// The log, as far as the gate is open. While it is closed the subscriber's cursor stands still.
#[derive(Debug)]
pub(super) struct GatedFeed {
    feed: LogFeed,
    gate: Gate,
    horizon: Horizon,
    owed: Owed,
    /// The binding under which it is open.
    open: Option<u64>,
}

impl GatedFeed {
    /// Whenever the gate opens, what has left before is visible up to `horizon`.
    pub(super) fn new(feed: LogFeed, gate: Gate, horizon: Horizon, owed: Owed) -> Self {
        Self {
            feed,
            gate,
            horizon,
            owed,
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
                // It was confirmed, perhaps while nobody listened: then it never comes back.
                self.horizon.raise(after);
            }
            return self.feed.look(after);
        }
        if !self.gate.is_wanted() {
            // Nothing is sent, and so nothing is waited for.
            self.owed.answered();
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

    fn snapshot(&self) -> Snapshot {
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
