//! Numbers by which a reader sees that something that is shown has changed: of one service, of all, of the names and
//! tags. They also move with what the checks say, which has no revision.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::clock;

/// The number of the last change of something. It only grows, also across restarts while the wall clock does.
#[derive(Debug)]
pub struct ChangeStamp {
    at: AtomicU64,
    changed: OnceLock<watch::Sender<u64>>,
}

impl ChangeStamp {
    pub(super) fn new(at: u64) -> Self {
        Self {
            at: AtomicU64::new(at),
            changed: OnceLock::new(),
        }
    }

    /// The number.
    pub fn value(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    /// Wakes when it grows.
    pub fn follow(&self) -> watch::Receiver<u64> {
        let sender = self
            .changed
            .get_or_init(|| watch::Sender::new(self.value()));
        let receiver = sender.subscribe();
        // The sender may have been made before the last change and seen none of it.
        self.send(sender);
        receiver
    }

    fn set(&self, at: u64) {
        self.at.fetch_max(at, Ordering::AcqRel);
    }

    pub(super) fn wake(&self) {
        if let Some(sender) = self.changed.get() {
            self.send(sender);
        }
    }

    fn send(&self, sender: &watch::Sender<u64>) {
        sender.send_if_modified(|sent| {
            let at = self.value();
            let grown = at > *sent;
            *sent = at.max(*sent);
            grown
        });
    }
}

/// The stamps that belong to no single service, and the sequence of all.
#[derive(Debug)]
pub struct Stamps {
    first: u64,
    last: AtomicU64,
    /// Of any service.
    pub all: ChangeStamp,
    /// Of the names of services and the tags in each.
    pub names: ChangeStamp,
}

impl Stamps {
    /// The stamp of what has not changed since the start.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The newest stamp that was given.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Gives the next stamp to a service, and to the names if they have changed.
    pub(super) fn mark(&self, service: &ChangeStamp, names_changed: bool) -> u64 {
        let next = self.last.fetch_add(1, Ordering::AcqRel) + 1;
        service.set(next);
        self.all.set(next);
        if names_changed {
            self.names.set(next);
        }
        next
    }

    pub(super) fn wake(&self) {
        self.all.wake();
        self.names.wake();
    }
}

impl Default for Stamps {
    /// They start at the time in microseconds: no registry gives more than one in each, so those of an earlier run are
    /// smaller.
    fn default() -> Self {
        let first = clock::system_us();
        Self {
            first,
            last: AtomicU64::new(first),
            all: ChangeStamp::new(first),
            names: ChangeStamp::new(first),
        }
    }
}
