//! When each lease may have run out: one entry per instance, however often it registers or sends a heartbeat.

use std::collections::{BTreeSet, HashMap};

use crate::model::ServiceId;

/// Timers ordered by time, in milliseconds of the registry's monotonic clock. A heartbeat does not move
/// its timer: when it is due, the last heartbeat is looked up and the timer is booked again.
#[derive(Debug, Default)]
pub(super) struct Leases {
    due: BTreeSet<(u64, ServiceId)>,
    booked: HashMap<ServiceId, u64>,
}

impl Leases {
    /// Books a lease that ends at `ends_ms`; a timer that is due earlier stays.
    pub(super) fn book(&mut self, id: &ServiceId, ends_ms: u64) {
        match self.booked.get_mut(id) {
            Some(booked) if *booked <= ends_ms => return,
            Some(booked) => {
                self.due.remove(&(*booked, id.clone()));
                *booked = ends_ms;
            }
            None => {
                self.booked.insert(id.clone(), ends_ms);
            }
        }
        self.due.insert((ends_ms, id.clone()));
    }

    pub(super) fn cancel(&mut self, id: &ServiceId) {
        if let Some(booked) = self.booked.remove(id) {
            self.due.remove(&(booked, id.clone()));
        }
    }

    /// Books a lease again that ends at `ends_ms`, also when that is later.
    pub(super) fn book_again(&mut self, id: &ServiceId, ends_ms: u64) {
        self.cancel(id);
        self.book(id, ends_ms);
    }

    /// At most `max` instances whose timers are due, the earliest first.
    pub(super) fn due(&self, now_ms: u64, max: usize) -> Vec<ServiceId> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now_ms);
        due.take(max).map(|(_, id)| id.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// When each of them is due.
    #[cfg(test)]
    pub(super) fn timers(&self) -> std::collections::BTreeMap<ServiceId, u64> {
        self.booked.clone().into_iter().collect()
    }
}
