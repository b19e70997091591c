//! The cost limit of one turn. A turn is the time for which the vhost's lock is held. Its work is counted in
//! steps of about 100 ns, so that tests count what benchmarks measure.

/// Steps of a turn: when they are used up, no further frame is carried out.
pub const TURN_STEPS: i64 = 16_384;
/// Steps that deliveries and deferred work get in each turn, whatever its frames have used.
const PUMP_STEPS: i64 = 12_288;
/// Steps that a frame may take beyond the end of its turn before the rest of its work is deferred.
const OVERDRAFT: i64 = 4_096;

/// The most steps that a turn takes, but for the last indivisible piece of work.
#[cfg(test)]
pub const TURN_STEPS_MAX: i64 = TURN_STEPS + OVERDRAFT + PUMP_STEPS;

/// The steps that are left of a turn.
#[derive(Debug, Default)]
pub struct Budget {
    left: i64,
    used: i64,
}

impl Budget {
    /// A new turn begins.
    pub fn refill(&mut self) {
        *self = Self {
            left: TURN_STEPS,
            used: 0,
        };
    }

    /// Deliveries and deferred work get their part, however much the turn's frames have used.
    pub fn refill_for_pump(&mut self) {
        self.left = self.left.max(PUMP_STEPS - OVERDRAFT);
    }

    /// Counts work.
    #[inline]
    pub fn spend(&mut self, steps: usize) {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX / 4);
        self.left -= steps;
        self.used += steps;
    }

    /// Whether no further work may begin.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.left <= 0
    }

    /// Whether work that has begun has to be deferred.
    #[inline]
    pub fn is_overdrawn(&self) -> bool {
        self.left <= -OVERDRAFT
    }

    /// Lets at most `steps` be spent before the budget is overdrawn; the rest is for [`Self::put_back`].
    pub fn limit_to(&mut self, steps: i64) -> i64 {
        let rest = (self.left + OVERDRAFT - steps).max(0);
        self.left -= rest;
        rest
    }

    /// Sets steps aside for [`Self::put_back`].
    pub fn set_aside(&mut self, steps: i64) -> i64 {
        self.left -= steps;
        steps
    }

    /// Puts back what was set aside.
    pub fn put_back(&mut self, rest: i64) {
        self.left += rest;
    }

    /// Steps that this turn has used.
    pub fn used(&self) -> i64 {
        self.used
    }
}
