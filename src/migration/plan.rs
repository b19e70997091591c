//! Which phases lie ahead, from the flag as it is.

use super::phase::Phase;
use crate::model::{Mode, Modes};

/// The phases ahead, and the flag in each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    steps: Vec<(Phase, Modes)>,
}

impl Plan {
    /// From the flag as it is: what goes by way of the broker already has no phases ahead. A channel
    /// that goes both ways already keeps its phase for that, as nobody has judged it yet.
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

    /// True when there is nothing between the baseline and the end.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(|(phase, _)| phase.sets().is_none())
    }

    /// Every phase and the flag in it.
    pub fn steps(&self) -> &[(Phase, Modes)] {
        &self.steps
    }

    /// The last phase up to `until` in which the flag is `modes`.
    pub fn place(&self, modes: Modes, until: Phase) -> Option<Phase> {
        let mut known = self
            .steps
            .iter()
            .filter(|(phase, after)| *phase != Phase::Done && *phase <= until && *after == modes);
        known.next_back().map(|(phase, _)| *phase)
    }

    /// The phase after `phase` and the flag in it; none after the last.
    pub fn after(&self, phase: Phase) -> Option<(Phase, Modes)> {
        let mut later = self.steps.iter().filter(|(known, _)| *known > phase);
        later.next().copied()
    }
}

#[cfg(test)]
mod tests;
