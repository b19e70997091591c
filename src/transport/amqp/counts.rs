//! The counters of one channel's use of the broker.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::api::Comparison;

/// The counters of one channel; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct ComparisonCounts(Arc<AtomicCounts>);

#[derive(Debug, Default)]
struct AtomicCounts {
    sent: AtomicU64,
    failed: AtomicU64,
    compared: AtomicU64,
    missing: AtomicU64,
    late: AtomicU64,
    different: AtomicU64,
}

impl ComparisonCounts {
    /// A message was sent and confirmed, or a request answered.
    pub fn sent(&self) {
        self.0.sent.fetch_add(1, Relaxed);
    }

    /// So many requests were answered.
    pub fn sent_more(&self, n: u64) {
        self.0.sent.fetch_add(n, Relaxed);
    }

    /// So many of the answers were refused afterwards.
    pub fn sent_in_vain(&self, n: u64) {
        self.0.failed.fetch_add(n, Relaxed);
        self.0.sent.fetch_sub(n, Relaxed);
    }

    /// A message was refused, returned or not answered; or a request could not be answered.
    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Relaxed);
    }

    /// Received both ways.
    pub fn compared(&self) {
        self.0.compared.fetch_add(1, Relaxed);
    }

    /// So many were received directly only.
    pub fn missing(&self, n: u64) {
        self.0.missing.fetch_add(n, Relaxed);
    }

    /// Received over the broker later than allowed.
    pub fn late(&self) {
        self.0.late.fetch_add(1, Relaxed);
    }

    /// The two ways differ.
    pub fn different(&self) {
        self.0.different.fetch_add(1, Relaxed);
    }

    /// Sent and failed so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.0.sent.load(Relaxed), self.0.failed.load(Relaxed))
    }

    /// How both ways agreed so far.
    pub fn comparison(&self) -> Comparison {
        Comparison {
            compared: self.0.compared.load(Relaxed),
            missing: self.0.missing.load(Relaxed),
            late: self.0.late.load(Relaxed),
            different: self.0.different.load(Relaxed),
        }
    }
}
