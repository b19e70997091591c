//! Requests to read messages back from the log, and the thread that reads them.

use std::{collections::VecDeque, ops::RangeInclusive};

use parking_lot::{Condvar, Mutex};

use crate::broker::{
    message_log::{MessageLog, MessageLogError, ReadLimits, StoredMessage},
    queue::QueueId,
};

/// So many messages are read at once.
const MESSAGES_MAX: usize = 512;

/// A request to read the first messages of a queue from the log.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Which vhost, as the broker counts them.
    pub vhost: usize,
    /// The queue.
    pub queue: QueueId,
    /// The queue's number in the log.
    pub number: u64,
    /// Where the messages are.
    pub positions: RangeInclusive<u64>,
    /// Bytes of bodies that are read, but for the first message.
    pub bytes: u64,
}

/// The messages that were read.
#[derive(Debug)]
pub struct LoadedMessages {
    /// The messages, in order.
    pub messages: Vec<StoredMessage>,
    /// There are no others up to this position.
    pub last: u64,
}

/// Requests that wait. One for all vhosts.
#[derive(Debug, Default)]
pub struct LoadRequests {
    waiting: Mutex<(VecDeque<LoadRequest>, bool)>,
    woken: Condvar,
}

impl LoadRequests {
    /// Adds a request.
    pub fn add(&self, request: LoadRequest) {
        self.waiting.lock().0.push_back(request);
        self.woken.notify_one();
    }

    /// Waits for a request. None: closed.
    pub fn next(&self) -> Option<LoadRequest> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.1 {
                return None;
            }
            if let Some(request) = waiting.0.pop_front() {
                return Some(request);
            }
            self.woken.wait(&mut waiting);
        }
    }

    /// Whether none waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.lock().0.is_empty()
    }

    /// Ends [`Self::next`].
    pub fn close(&self) {
        self.waiting.lock().1 = true;
        self.woken.notify_all();
    }
}

/// Reads the messages of a request. Blocks.
///
/// # Errors
/// The log cannot be read.
pub fn load(log: &MessageLog, request: &LoadRequest) -> Result<LoadedMessages, MessageLogError> {
    let positions = request.positions.clone();
    let end = *positions.end();
    let limits = ReadLimits {
        messages: MESSAGES_MAX,
        bytes: request.bytes,
    };
    let messages = log.read_from(request.number, positions, limits)?;
    let last = messages.last().map_or(end, |message| message.position);
    Ok(LoadedMessages { messages, last })
}
