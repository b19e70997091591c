//! The records of a journal: the changes that were decided, in order.

use std::sync::Arc;

use super::OwnedBatch;
use crate::model::{Epoch, Event, Instance};

/// One change. Applying all records in order to an empty state gives the same state.
#[derive(Clone, Debug)]
pub enum Record {
    /// A change with a revision, which readers receive as an event.
    Event(Arc<Event>),
    /// An instance moves to another service: the old service gets this event, the next record adds it to the
    /// new one.
    Moved(Arc<Event>),
    /// A version of an instance without an event: a new incarnation, another lease, another
    /// observed status behind an override.
    Silent(Arc<Instance>),
}

impl Record {
    /// The memory of what it changes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Event(event) | Self::Moved(event) => {
                let instance = event.instance.as_ref().map_or(0, |one| one.bytes);
                instance + event.route.as_ref().map_or(0, |route| route.memory())
            }
            Self::Silent(instance) => instance.bytes,
        }
    }
}

impl Batch<'_> {
    /// A copy for a journal that commits later.
    pub fn to_owned(&self) -> OwnedBatch {
        OwnedBatch {
            epoch: self.epoch,
            incarnation: self.incarnation,
            records: self.records.to_vec(),
        }
    }
}

/// The records that are committed together, in order.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Counts the batches of this journal, from 1.
    pub number: u64,
    /// The epoch of the revisions.
    pub epoch: Epoch,
    /// The highest incarnation given so far, this batch included.
    pub incarnation: u64,
    /// Empty when commands were refused or changed nothing: their answers are confirmed too.
    pub records: &'a [Record],
}
