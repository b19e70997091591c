//! The interface to remote probers: what is asked of them, and what they answer.

use std::{fmt, time::Duration};

use crate::{api::CheckRequest, model::Mode};

/// Sends probe requests to remote probers.
pub trait RemoteProber: fmt::Debug + Send + Sync {
    /// The current mode of channel health.
    fn mode(&self) -> Mode;

    /// Sends a request without waiting; false when that is not possible now. `number` is unique among the requests
    /// of this daemon; `left` is the time from now to the deadline.
    fn ask(&self, number: u64, request: &CheckRequest<'_>, left: Duration) -> bool;

    /// Counts the result of a request.
    fn note(&self, ended: RequestResult);
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

/// The result of a remote verdict.
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
