//! Health as discovery sees it.

use std::fmt;

/// The state of one instance.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// Has a check that has not yet come to a verdict.
    Starting,
    /// Passes all of its checks, or has none.
    Healthy,
    /// Fails a check, or an operator said so.
    Unhealthy,
    /// Is being drained.
    Stopping,
    /// Nothing is known.
    Unknown,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Healthy,
        Self::Unhealthy,
        Self::Stopping,
        Self::Unknown,
    ];

    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The statuses that an operator may set in place of the observed one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OverrideStatus {
    /// Maintenance: not to be used.
    Unhealthy,
    /// Drain: no new work.
    Stopping,
}

impl From<OverrideStatus> for Status {
    fn from(status: OverrideStatus) -> Self {
        match status {
            OverrideStatus::Unhealthy => Self::Unhealthy,
            OverrideStatus::Stopping => Self::Stopping,
        }
    }
}
