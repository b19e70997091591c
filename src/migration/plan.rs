//! The remaining phases for the current modes.

use super::phase::Phase;
use crate::model::{Mode, Modes};

/// The remaining phases, with the modes in each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    steps: Vec<(Phase, Modes)>,
}

impl Plan {
    /// The plan for these modes: a channel in mode queue has no phases left. A channel in mode dual keeps
    /// its phase for that, because it was not compared yet.
    pub fn from(modes: Modes) -> Self {
        let mut steps = Vec::with_capacity(Phase::ALL.len());
        let mut ahead = modes;
        for phase in Phase::ALL {
            let wanted = phase
                .sets()
                .is_none_or(|(channel, _)| modes.of(channel) != Mode::Queue);
            if wanted {
                ahead = phase.after(ahead);
                steps.push((phase, ahead));
            }
        }
        Self { steps }
    }

    /// A plan that was made earlier.
    pub fn of(steps: Vec<(Phase, Modes)>) -> Self {
        Self { steps }
    }

    /// True when no phase changes a mode.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|(phase, _)| phase.sets().is_none())
    }

    /// Every phase with its modes.
    pub fn steps(&self) -> &[(Phase, Modes)] {
        &self.steps
    }

    /// The last phase up to `until` that has these modes.
    pub fn place(&self, modes: Modes, until: Phase) -> Option<Phase> {
        let mut known = self
            .steps
            .iter()
            .filter(|(phase, after)| *phase != Phase::Done && *phase <= until && *after == modes);
        known.next_back().map(|(phase, _)| *phase)
    }

    /// The phase after `phase` with its modes; none after the last.
    pub fn after(&self, phase: Phase) -> Option<(Phase, Modes)> {
        let mut later = self.steps.iter().filter(|(known, _)| *known > phase);
        later.next().copied()
    }
}

#[cfg(test)]
mod tests;
