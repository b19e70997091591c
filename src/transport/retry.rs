//! When to retry a receiver: backoff with full jitter, and a circuit breaker. Pure: `now` and chance are
//! parameters.

use std::time::Duration;

use tokio::time::Instant;

/// How a failing receiver is retried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The longest wait after a first failure; doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait while the circuit is closed.
    pub backoff_max: Duration,
    /// Failures in a row that open the circuit; at least one is needed.
    pub circuit_after: u32,
    /// The longest wait while the circuit is open; half of it is the shortest.
    pub circuit_open: Duration,
    /// Refusals of one event in a row after which a snapshot is sent in its place.
    pub refusals_max: u32,
}

/// The state of a receiver's circuit breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Circuit {
    /// It is tried as events come.
    Closed,
    /// It failed too often in a row: no attempts until the pause is over.
    Open,
    /// The pause is over: one attempt decides.
    HalfOpen,
}

impl Circuit {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The failures in a row of one receiver, and when it is retried.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    policy: Policy,
    failures: u32,
    due: Option<Instant>,
}

impl Retry {
    /// Nothing has failed yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            failures: 0,
            due: None,
        }
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The state of the circuit at `now`.
    pub fn circuit(&self, now: Instant) -> Circuit {
        if self.failures < self.policy.circuit_after.max(1) {
            Circuit::Closed
        } else if self.due.is_some_and(|due| now < due) {
            Circuit::Open
        } else {
            Circuit::HalfOpen
        }
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.due = None;
    }

    /// An attempt failed; returns when the next one is due. `chance` is from 0 to 1; `asked` is the pause
    /// that the receiver asks for, respected up to the policy's longest wait.
    pub fn failed(&mut self, now: Instant, chance: f64, asked: Option<Duration>) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let Policy {
            backoff_max,
            circuit_open,
            ..
        } = self.policy;
        let chance = chance.clamp(0.0, 1.0);
        let own = match self.circuit(now) {
            Circuit::Closed => self.backoff().mul_f64(chance),
            Circuit::Open | Circuit::HalfOpen => circuit_open.mul_f64(0.5 + chance / 2.0),
        };
        let asked = asked.unwrap_or_default().min(backoff_max.max(circuit_open));
        let due = now + own.max(asked);
        self.due = Some(due);
        due
    }

    /// The longest wait after so many failures.
    fn backoff(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(20);
        let longest = self.policy.backoff_first.saturating_mul(1 << doublings);
        longest.min(self.policy.backoff_max)
    }
}

#[cfg(test)]
mod tests;
