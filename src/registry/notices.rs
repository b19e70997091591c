//! Notices: messages for watchers that are not changes of the registry and so have no revision.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

/// One notice.
#[derive(Clone, Debug)]
pub struct NoticeEntry {
    /// Counts up by one.
    pub number: u64,
    /// `migration.<step>`, or `user.event`.
    pub event: &'static str,
    /// The routing key.
    pub key: Cow<'static, str>,
    /// In the shape of an event.
    pub json: Bytes,
}

/// The newest notices. Each reader remembers the last number that it has read.
#[derive(Debug)]
pub struct Notices {
    max: usize,
    kept: Mutex<VecDeque<Arc<NoticeEntry>>>,
    newest: watch::Sender<u64>,
}

impl Notices {
    /// Keeps at most `max` notices.
    pub fn new(max: usize) -> Self {
        Self::after(0, max)
    }

    /// Keeps at most `max` notices, with numbers after `number`, which those of an earlier run of the same epoch do not
    /// have.
    pub fn after(number: u64, max: usize) -> Self {
        Self {
            max,
            kept: Mutex::default(),
            newest: watch::Sender::new(number),
        }
    }

    /// Adds a notice, whose name is also its routing key, and wakes the readers.
    pub fn push(&self, event: &'static str, json: Bytes) {
        self.push_with_key(event, Cow::Borrowed(event), json);
    }

    /// Adds a notice with a routing key of its own and wakes the readers.
    pub fn push_with_key(&self, event: &'static str, key: Cow<'static, str>, json: Bytes) {
        let mut kept = self.kept.lock();
        let number = *self.newest.borrow() + 1;
        kept.push_back(Arc::new(NoticeEntry {
            number,
            event,
            key,
            json,
        }));
        while kept.len() > self.max {
            kept.pop_front();
        }
        self.newest.send_replace(number);
    }

    /// The newest number; 0 before the first notice.
    pub fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    /// The notices after `seen` that are still kept, oldest first.
    pub fn since(&self, seen: u64) -> Vec<Arc<NoticeEntry>> {
        let kept = self.kept.lock();
        let news = kept.iter().filter(|entry| entry.number > seen);
        news.cloned().collect()
    }

    /// Wakes at every notice.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests;
