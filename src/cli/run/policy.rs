//! Whether and when a command that has ended is started again. Pure.

use std::time::Duration;

/// The first and the longest pause between two starts; each is twice the one before.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// A command that ran for this long begins a new row of restarts.
const STABLE: Duration = Duration::from_secs(60);

/// When a command is started again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RestartPolicy {
    Never,
    /// After an exit code other than 0.
    OnFailure,
    Always,
}

/// The restarts so far.
#[derive(Debug)]
pub(super) struct Restart {
    policy: RestartPolicy,
    max: u32,
    in_a_row: u32,
}

impl Restart {
    pub(super) fn new(policy: RestartPolicy, max: u32) -> Self {
        Self {
            policy,
            max,
            in_a_row: 0,
        }
    }

    /// The pause before the next start; none if there is none.
    ///
    /// `stopped`: run has stopped the command. `ran`: how long it ran.
    pub(super) fn after(&mut self, code: u8, stopped: bool, ran: Duration) -> Option<Duration> {
        let wanted = match self.policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Always => true,
        };
        if ran >= STABLE {
            self.in_a_row = 0;
        }
        if !wanted || stopped || self.in_a_row >= self.max {
            return None;
        }
        let doubled = 2_u32.saturating_pow(self.in_a_row);
        self.in_a_row += 1;
        Some(PAUSES[0].saturating_mul(doubled).min(PAUSES[1]))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Restart, RestartPolicy};

    #[test]
    fn a_policy_decides_by_code_and_by_who_stopped_it() {
        let table = [
            (RestartPolicy::Never, 1, false, false),
            (RestartPolicy::OnFailure, 0, false, false),
            (RestartPolicy::OnFailure, 3, false, true),
            (RestartPolicy::OnFailure, 143, true, false),
            (RestartPolicy::Always, 0, false, true),
            (RestartPolicy::Always, 0, true, false),
        ];
        for (policy, code, stopped, again) in table {
            let pause = Restart::new(policy, 5).after(code, stopped, Duration::ZERO);
            assert_eq!(pause.is_some(), again, "{policy:?} {code} {stopped}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_begin_again_after_a_stable_run() {
        let mut restart = Restart::new(RestartPolicy::Always, 8);
        let mut pause = |ran| restart.after(1, false, Duration::from_secs(ran));
        let seconds: Vec<_> = (0..8).map(|_| pause(1).unwrap().as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(pause(1), None);
        assert_eq!(pause(60), Some(Duration::from_millis(500)));
    }
}
