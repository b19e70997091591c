//! The cursor of one subscriber, and its failures. Pure: the relay calls `offer` before a delivery and
//! passes the outcome after it; time and chance are parameters.

use tokio::time::Instant;

use super::{Circuit, DeliveryError, Policy, Retry};
use crate::model::{Cursor, Epoch, Event, Revision, Timestamp};

/// The treatment of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offer {
    /// The subscriber has not had it.
    Deliver,
    /// The subscriber had it, or its snapshot holds it already, or it is of another epoch.
    Drop,
}

/// What a relay does after a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Another attempt, not before.
    Retry(Instant),
    /// Nothing: the receiver ended its deliveries.
    End,
}

/// One subscriber's cursor and failures. Only a delivery moves the cursor. So a second path that brings
/// the same revision is dropped, and a path that starts late begins at the cursor.
#[derive(Clone, Debug)]
pub struct Subscriber {
    cursor: Cursor,
    lost: bool,
    retry: Retry,
    refusals: u32,
    refusals_max: u32,
    /// Counts, and the last of each.
    pub record: DeliveryStats,
}

/// Statistics of a subscriber's deliveries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeliveryStats {
    /// Events that arrived.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Snapshots that arrived.
    pub resyncs: u64,
    /// Events that were refused so often that a snapshot was sent in their place.
    pub given_up: u64,
    /// The error of the last failed attempt.
    pub last_error: Option<Box<str>>,
    /// When an event or a snapshot last arrived.
    pub last_delivered_at: Option<Timestamp>,
}

impl Subscriber {
    /// A subscriber of the events after `cursor`.
    pub fn new(cursor: Cursor, policy: Policy) -> Self {
        Self {
            cursor,
            lost: false,
            retry: Retry::new(policy),
            refusals: 0,
            refusals_max: policy.refusals_max.max(1),
            record: DeliveryStats::default(),
        }
    }

    /// The last change it has had, or that was not for it.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// True when it must have a snapshot before anything else.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// The state of its circuit at `now`.
    pub fn circuit(&self, now: Instant) -> Circuit {
        self.retry.circuit(now)
    }

    /// Attempts that failed since the last success.
    pub fn failures(&self) -> u32 {
        self.retry.failures()
    }

    /// True when its last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.failures() > 0
    }

    /// Whether an event is still to be delivered.
    pub fn offer(&self, event: &Event) -> Offer {
        self.offer_at(event.epoch, event.revision)
    }

    fn offer_at(&self, epoch: Epoch, revision: Revision) -> Offer {
        let ahead = epoch == self.cursor.epoch && revision > self.cursor.revision;
        if ahead && !self.lost {
            Offer::Deliver
        } else {
            Offer::Drop
        }
    }

    /// Nothing up to `revision` is left for it.
    pub fn pass(&mut self, revision: Revision) {
        self.cursor.revision = self.cursor.revision.max(revision);
    }

    /// The event with this revision arrived.
    pub fn delivered(&mut self, revision: Revision, at: Timestamp) {
        self.pass(revision);
        self.record.delivered += 1;
        self.succeeded(at);
    }

    /// Its cursor is no longer in the log.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// A snapshot arrived that contains every change up to `revision`.
    pub fn resynced(&mut self, revision: Revision, at: Timestamp) {
        self.cursor.revision = revision;
        self.lost = false;
        self.record.resyncs += 1;
        self.succeeded(at);
    }

    /// An attempt failed. An event that is refused too often is replaced by a snapshot, which contains what
    /// the event said.
    pub fn failed(&mut self, error: &DeliveryError, now: Instant, chance: f64) -> Next {
        self.record.failed += 1;
        self.record.last_error = Some(error.to_string().into());
        let asked = match error {
            DeliveryError::Gone => return Next::End,
            DeliveryError::Refused(_) => {
                self.refused();
                None
            }
            DeliveryError::Busy { wait, .. } => *wait,
            DeliveryError::Failed(_) | DeliveryError::Panicked | DeliveryError::Late(_) => None,
        };
        Next::Retry(self.retry.failed(now, chance, asked))
    }

    fn refused(&mut self) {
        self.refusals += 1;
        if self.refusals >= self.refusals_max && !self.lost {
            self.refusals = 0;
            self.lost = true;
            self.record.given_up += 1;
        }
    }

    fn succeeded(&mut self, at: Timestamp) {
        self.refusals = 0;
        self.retry.succeeded();
        self.record.last_delivered_at = Some(at);
    }
}

#[cfg(test)]
mod tests;
