//! The operations that were appended and are not written yet.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc};

use super::{
    LogPosition, QueueNumber, QueuePlace,
    record::{NewMessage, NewPlaces},
};
use crate::broker::message::Message;

/// The bytes of an operation besides the content of a message.
const OPERATION: u64 = size_of::<(LogPosition, LogOperation)>() as u64;

/// Places that one record of a message may have whatever its length.
const PLACES_MIN: usize = 64;
/// A record has one more place for so many bytes of its body.
const BYTES_PER_PLACE: usize = 16;

/// Something that happened to messages of a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum QueueChange {
    /// They have left the queue.
    Settled {
        queue: QueueNumber,
        first: u64,
        last: u64,
    },
    /// They were given to a consumer.
    Delivered {
        queue: QueueNumber,
        first: u64,
        last: u64,
    },
    /// It was requeued.
    Requeued {
        queue: QueueNumber,
        from: u64,
        position: u64,
        returns: u32,
    },
    /// The queue is gone.
    Deleted { queue: QueueNumber },
}

impl QueueChange {
    pub(super) fn settled(queue: QueueNumber, positions: RangeInclusive<u64>) -> Self {
        let (first, last) = positions.into_inner();
        Self::Settled { queue, first, last }
    }

    pub(super) fn delivered(queue: QueueNumber, position: u64) -> Self {
        Self::Delivered {
            queue,
            first: position,
            last: position,
        }
    }

    /// Extends this change by the same change of the next message; false if it is another one.
    pub(super) fn extend(&mut self, next: &Self) -> bool {
        match (self, next) {
            (
                Self::Settled { queue, last, .. },
                Self::Settled {
                    queue: next_queue,
                    first: next_first,
                    last: next_last,
                },
            )
            | (
                Self::Delivered { queue, last, .. },
                Self::Delivered {
                    queue: next_queue,
                    first: next_first,
                    last: next_last,
                },
            ) if queue == next_queue && last.checked_add(1) == Some(*next_first) => {
                *last = *next_last;
                true
            }
            _ => false,
        }
    }
}

/// The operation of one append.
#[derive(Clone, Debug)]
pub(super) enum LogOperation {
    Message(NewMessage),
    Change(QueueChange),
    /// All or nothing of it.
    Group(Box<GroupContent>),
}

/// The operations that a group has gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupContent {
    pub(super) messages: Vec<NewMessage>,
    pub(super) changes: Vec<QueueChange>,
}

impl LogOperation {
    /// Its bytes while it waits.
    pub(super) fn bytes(&self) -> u64 {
        let content = match self {
            Self::Message(message) => message_bytes(message),
            Self::Change(_) => 0,
            Self::Group(group) => {
                let messages = group.messages.iter().map(message_bytes).sum::<u64>();
                messages + OPERATION * group.changes.len() as u64
            }
        };
        OPERATION + content
    }
}

fn message_bytes(new: &NewMessage) -> u64 {
    let places = size_of_val(new.places.as_slice());
    let message = &new.message;
    (places + message.properties.as_bytes().len() + message.body.len()) as u64
}

/// A message with its places, in several records if there are many places. Each queue also reads the places
/// of the others, so a record has few more bytes of places than of body.
pub(super) fn records(
    message: &Arc<Message>,
    places: &[QueuePlace],
) -> impl Iterator<Item = NewMessage> {
    let most = PLACES_MIN.max(message.body.len() / BYTES_PER_PLACE);
    places.chunks(most).map(|places| NewMessage {
        message: Arc::clone(message),
        places: NewPlaces::of(places),
    })
}

/// The operations appended since the writer took the last ones.
#[derive(Debug, Default)]
pub(super) struct PendingOperations {
    pub(super) operations: VecDeque<(LogPosition, LogOperation)>,
    /// The last position that was given away.
    pub(super) last: LogPosition,
    /// Somebody waits until this position is durable.
    pub(super) wanted: LogPosition,
    /// Groups that are neither committed nor dropped.
    pub(super) open_groups: usize,
    /// Groups that were committed or dropped.
    pub(super) closed_groups: u64,
    /// No more will come.
    pub(super) is_closing: bool,
    /// Nothing is taken any more.
    pub(super) has_failed: bool,
    /// The writer sleeps.
    pub(super) is_asleep: bool,
}

impl PendingOperations {
    /// Appends an operation; the bytes that it counts for.
    pub(super) fn push(&mut self, operation: LogOperation) -> u64 {
        self.last += 1;
        if self.has_failed {
            return 0;
        }
        if let (Some((at, LogOperation::Change(last))), LogOperation::Change(next)) =
            (self.operations.back_mut(), &operation)
            && last.extend(next)
        {
            *at = self.last;
            return 0;
        }
        let bytes = operation.bytes();
        self.operations.push_back((self.last, operation));
        bytes
    }
}
