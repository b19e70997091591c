//! The seam by which a turn goes to a prober elsewhere, and what comes back from there.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use super::report::Outcome;
use crate::model::{Check, Mode, Registration, Timestamp};

/// A way to probers elsewhere.
pub trait RemoteProber: fmt::Debug + Send + Sync {
    /// Which way probes go now.
    fn mode(&self) -> Mode;

    /// Sends a request on its way, waiting for nothing; false when there is no way now.
    fn ask(&self, request: &ProbeRequest<'_>) -> bool;

    /// Takes note of what came of a request.
    fn note(&self, ended: RequestResult);
}

/// A probe that somebody elsewhere shall make.
#[derive(Clone, Debug)]
pub struct ProbeRequest<'a> {
    /// Tells it from every other request of this daemon.
    pub number: u64,
    /// Whose check it is.
    pub of: &'a Arc<Registration>,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// What is to be done.
    pub check: Cow<'a, Check>,
    /// After this time nobody waits for the verdict.
    pub deadline: Timestamp,
    /// How long that is from now.
    pub left: Duration,
}

/// What a prober elsewhere found.
#[derive(Clone, Debug)]
pub struct RemoteVerdict {
    /// The request that it answers, where it says so.
    pub number: Option<u64>,
    /// Whose check it was.
    pub service_id: Box<str>,
    /// Which registration of this id it was.
    pub incarnation: u64,
    /// The check's name.
    pub check: Box<str>,
    /// How the probe ended.
    pub outcome: Outcome,
    /// How long it took.
    pub latency: Duration,
    /// What came back, for people.
    pub text: Box<str>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestResult {
    /// It was answered in time, and the answer decided.
    Answered,
    /// Nobody answered in time, or it could not be sent: the daemon probed itself.
    Unanswered,
    /// Its answer agreed with the direct one.
    Same,
    /// Its answer said something else than the direct one.
    Different,
    /// Its answer came after the deadline.
    Late,
    /// Only the direct answer came.
    Missing,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerdictUse {
    /// Somebody waited for it.
    Used,
    /// The instance, or that registration of it, is gone.
    Gone,
    /// Nobody waits for it: it came too late, or was never asked for.
    Unasked,
}

impl VerdictUse {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Gone => "gone",
            Self::Unasked => "unasked",
        }
    }
}
