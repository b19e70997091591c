//! When each lease may have run out: one entry per instance, however often it registers or beats.

use std::collections::{BTreeSet, HashMap};

use crate::model::ServiceId;

/// Timers ordered by time, in milliseconds of the registry's monotonic clock. A heartbeat does not
/// move its timer: whoever takes a timer looks at the beat and books the lease anew.
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

    /// Takes one timer that is due.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<ServiceId> {
        let (at, _) = self.due.first()?;
        if *at > now_ms {
            return None;
        }
        let (_, id) = self.due.pop_first()?;
        self.booked.remove(&id);
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}
