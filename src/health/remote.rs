//! The interface to remote probers: what is asked of them, and what they answer.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use super::report::Outcome;
use crate::model::{Check, Mode, Registration, Timestamp};

/// Sends probe requests to remote probers.
pub trait RemoteProber: fmt::Debug + Send + Sync {
    /// The current mode of channel health.
    fn mode(&self) -> Mode;

    /// Sends a request without waiting; false when that is not possible now.
    fn ask(&self, request: &ProbeRequest<'_>) -> bool;

    /// Counts the result of a request.
    fn note(&self, ended: RequestResult);
}

/// A probe for a remote prober.
#[derive(Clone, Debug)]
pub struct ProbeRequest<'a> {
    /// Unique among the requests of this daemon.
    pub number: u64,
    /// The registration that defines the check.
    pub of: &'a Arc<Registration>,
    /// The incarnation of that registration.
    pub incarnation: u64,
    /// The check to make.
    pub check: Cow<'a, Check>,
    /// The verdict is not used after this time.
    pub deadline: Timestamp,
    /// The time from now to the deadline.
    pub left: Duration,
}

/// What a remote prober found.
#[derive(Clone, Debug)]
pub struct RemoteVerdict {
    /// The number of the request, if the prober sent it.
    pub number: Option<u64>,
    /// The id of the instance.
    pub service_id: Box<str>,
    /// The incarnation that was probed.
    pub incarnation: u64,
    /// The check's name.
    pub check: Box<str>,
    /// How the probe ended.
    pub outcome: Outcome,
    /// How long it took.
    pub latency: Duration,
    /// The message, for people.
    pub text: Box<str>,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestResult {
    /// Answered in time; the answer decided.
    Answered,
    /// Not answered in time, or not sent: the daemon probed itself.
    Unanswered,
    /// The answer agreed with the direct probe.
    Same,
    /// The answer differed from the direct probe.
    Different,
    /// The answer came after the deadline.
    Late,
    /// Only the direct probe had a result.
    Missing,
}

/// What happened to a remote verdict.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerdictUse {
    /// A request waited for it.
    Used,
    /// The instance, or that incarnation, is no longer registered.
    Gone,
    /// No request waits for it: it came too late, or was never requested.
    Unasked,
}

impl VerdictUse {
    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Gone => "gone",
            Self::Unasked => "unasked",
        }
    }
}
