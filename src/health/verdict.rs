//! When a run of outcomes becomes a verdict, and when a check is flapping. Pure.

use std::collections::VecDeque;

/// The thresholds of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct VerdictRules {
    /// Passes in a row that make a check pass.
    pub(super) healthy_after: u32,
    /// Failures in a row that make it fail.
    pub(super) unhealthy_after: u32,
    /// More flips than this within the window are flapping.
    pub(super) flips_max: usize,
    pub(super) window_ms: u64,
}

/// The verdict of a check, with the outcomes that led to it.
#[derive(Debug)]
pub(super) struct Verdict {
    /// True when it passes; none before the first verdict.
    says: Option<bool>,
    since_ms: u64,
    /// The verdict without the hold for flapping.
    raw: Option<bool>,
    /// The last outcome, and how many times in a row it came.
    run: (bool, u32),
    /// The times at which `raw` flipped within the window, oldest first.
    flips: VecDeque<u64>,
    flapping: bool,
}

impl Verdict {
    /// No verdict yet.
    pub(super) fn open(now_ms: u64) -> Self {
        Self {
            says: None,
            since_ms: now_ms,
            raw: None,
            run: (false, 0),
            flips: VecDeque::new(),
            flapping: false,
        }
    }

    /// The verdict from before a restart.
    pub(super) fn presumed(passes: bool, now_ms: u64) -> Self {
        Self {
            says: Some(passes),
            raw: Some(passes),
            ..Self::open(now_ms)
        }
    }

    pub(super) fn says(&self) -> Option<bool> {
        self.says
    }

    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    pub(super) fn is_flapping(&self) -> bool {
        self.flapping
    }

    /// How many failures in a row came last.
    pub(super) fn failures(&self) -> u32 {
        match self.run {
            (false, times) => times,
            (true, _) => 0,
        }
    }

    /// Records an outcome; true when the verdict changed.
    pub(super) fn record(&mut self, passed: bool, now_ms: u64, rules: &VerdictRules) -> bool {
        let (last, times) = self.run;
        let times = if passed == last {
            times.saturating_add(1)
        } else {
            1
        };
        self.run = (passed, times);
        let enough = if passed {
            rules.healthy_after
        } else {
            rules.unhealthy_after
        };
        if times >= enough && self.raw != Some(passed) {
            // The first verdict is not a flip, and where nothing counts as flapping no flip is kept.
            if self.raw.is_some() && rules.flips_max < usize::MAX {
                self.flips.push_back(now_ms);
            }
            self.raw = Some(passed);
        }
        self.watch_flips(now_ms, rules);
        if self.flapping || self.says == self.raw {
            return false;
        }
        self.says = self.raw;
        self.since_ms = now_ms;
        true
    }

    /// Flapping starts above the limit and ends at half of it (hysteresis).
    fn watch_flips(&mut self, now_ms: u64, rules: &VerdictRules) {
        while self
            .flips
            .front()
            .is_some_and(|at| at.saturating_add(rules.window_ms) <= now_ms)
        {
            self.flips.pop_front();
        }
        if self.flips.len() > rules.flips_max {
            self.flapping = true;
            self.flips.drain(..self.flips.len() - rules.flips_max - 1);
        } else if self.flips.len() <= rules.flips_max / 2 {
            self.flapping = false;
        }
    }
}

#[cfg(test)]
mod tests;
