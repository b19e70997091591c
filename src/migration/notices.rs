//! What the migration tells everybody: the last notices, for readers who each pull at their own pace.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    api::{self, Notice},
    ports::{NoticeEntry, Notices},
    registry::Registry,
};

/// A bounded ring of notices.
#[derive(Debug)]
pub struct NoticeRing {
    registry: Registry,
    max: usize,
    kept: Mutex<VecDeque<Arc<NoticeEntry>>>,
    newest: watch::Sender<u64>,
}

impl NoticeRing {
    /// An empty ring for so many.
    pub fn new(registry: Registry, max: usize) -> Self {
        Self {
            registry,
            max,
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Adds one and wakes readers.
    pub(super) fn tell(&self, event: &'static str, reason: &str) {
        let json = api::notice(&Notice {
            event,
            epoch: self.registry.epoch(),
            service_name: None,
            reason: Some(reason),
            timestamp: self.registry.clock().now().wall,
        });
        let mut kept = self.kept.lock();
        let number = *self.newest.borrow() + 1;
        kept.push_back(Arc::new(NoticeEntry {
            number,
            event,
            json,
        }));
        while kept.len() > self.max {
            kept.pop_front();
        }
        self.newest.send_replace(number);
    }
}

impl Notices for NoticeRing {
    fn newest(&self) -> u64 {
        *self.newest.borrow()
    }

    fn since(&self, seen: u64) -> Vec<Arc<NoticeEntry>> {
        let kept = self.kept.lock();
        let news = kept.iter().filter(|entry| entry.number > seen);
        news.cloned().collect()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}
