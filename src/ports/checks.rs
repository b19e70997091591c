//! What the transport may ask of whoever schedules and makes probes.

use std::{fmt, time::Duration};

use super::Boxed;
use crate::{
    api::CheckVerdict,
    model::{Check, CheckOutcome},
};

/// Where the verdicts of probers elsewhere go.
pub trait Verdicts: fmt::Debug + Send + Sync {
    /// Takes a verdict, which answers the request of that number where it says so. One that nobody waits
    /// for is passed over.
    fn take(&self, verdict: CheckVerdict, request: Option<u64>);

    /// A request could not be sent after all.
    fn unsent(&self, request: u64);

    /// No request that is under way will be answered.
    fn cut_off(&self);
}

/// What a probe found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probed {
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub latency: Duration,
    /// What came back, in one line.
    pub text: Box<str>,
}

/// Makes probes for whoever asks.
pub trait Probing: fmt::Debug + Send + Sync {
    /// Makes one, within the check's own timeout and `left`.
    fn probe<'a>(&'a self, check: &'a Check, left: Duration) -> Boxed<'a, Probed>;
}
