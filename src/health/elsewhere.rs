//! The seam by which a turn goes to a prober elsewhere, and what comes back from there.

use std::{fmt, time::Duration};

use crate::{api::CheckRequest, model::Mode};

/// A way to probers elsewhere.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Which way probes go now.
    fn mode(&self) -> Mode;

    /// Sends request `number`, which is answered within `left`, without waiting; false when it can't be
    /// sent now.
    fn ask(&self, number: u64, request: &CheckRequest<'_>, left: Duration) -> bool;

    /// Takes note of what came of a request.
    fn note(&self, ended: Asked);
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asked {
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
pub enum Taken {
    /// Somebody waited for it.
    Used,
    /// The instance, or that registration of it, is gone.
    Gone,
    /// Nobody waits for it: it came too late, or was never asked for.
    Unasked,
}

impl Taken {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Gone => "gone",
            Self::Unasked => "unasked",
        }
    }
}
