//! The flag: which way each channel goes. A change takes effect between two events.

use std::sync::Arc;

use tokio::sync::watch;

use super::Horizon;
use crate::{
    model::{Mode, Modes},
    ports::{FlagError, Flagged},
    registry::Registry,
};

/// A cheap handle to the flag.
#[derive(Clone, Debug)]
pub struct Flag {
    flagged: Arc<watch::Sender<Flagged>>,
    horizon: Horizon,
    registry: Registry,
}

impl Flag {
    /// The flag at the start.
    pub fn new(modes: Modes, registry: Registry) -> Self {
        let horizon = Horizon::default();
        let flag = Self {
            flagged: Arc::new(watch::Sender::new(Flagged { modes, version: 0 })),
            horizon,
            registry,
        };
        flag.draw_horizon(modes);
        flag
    }

    /// The flag as it stands.
    pub fn flagged(&self) -> Flagged {
        *self.flagged.borrow()
    }

    /// Tells of every change.
    pub fn follow(&self) -> watch::Receiver<Flagged> {
        self.flagged.subscribe()
    }

    /// What callbacks and webhooks may see.
    pub fn horizon(&self) -> &Horizon {
        &self.horizon
    }

    /// Changes the flag; answers with the version that stands then.
    ///
    /// # Errors
    /// `only_if` names a version that no longer stands.
    pub fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        let mut answer = Err(FlagError::Changed);
        self.flagged.send_if_modified(|flagged| {
            if only_if.is_some_and(|version| version != flagged.version) {
                return false;
            }
            let changed = flagged.modes != modes;
            if changed {
                // Under the same lock, so that two changes never leave the horizon of the other.
                self.draw_horizon(modes);
                tracing::info!(%modes, "the transport's flag is now: {modes}");
                *flagged = Flagged {
                    modes,
                    version: flagged.version + 1,
                };
            }
            answer = Ok(flagged.version);
            changed
        });
        answer
    }

    fn draw_horizon(&self, modes: Modes) {
        if modes.events == Mode::Queue {
            self.horizon.hold(self.registry.newest());
        } else {
            self.horizon.lift();
        }
    }
}

#[cfg(test)]
mod tests;
