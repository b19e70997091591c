//! The flag: the mode of each channel. A change takes effect between two events.

use std::sync::Arc;

use tokio::sync::watch;

use super::HighWatermark;
use crate::{
    api::{Comparison, TransportBroker, TransportChannel, TransportReport},
    model::{Channel, FlagError, FlagState, Mode, Modes, Timestamp},
    registry::Registry,
};

/// A cheap handle to the flag.
#[derive(Clone, Debug)]
pub struct Flag {
    flagged: Arc<watch::Sender<FlagState>>,
    watermark: HighWatermark,
    registry: Registry,
    since: Timestamp,
}

impl Flag {
    /// The flag at the start.
    pub fn new(modes: Modes, registry: Registry) -> Self {
        let watermark = HighWatermark::default();
        let flag = Self {
            flagged: Arc::new(watch::Sender::new(FlagState { modes, version: 0 })),
            watermark,
            since: registry.clock().now().wall,
            registry,
        };
        flag.set_watermark(modes);
        flag
    }

    /// The modes and their version.
    pub fn state(&self) -> FlagState {
        *self.flagged.borrow()
    }

    /// Tells of every change of the modes.
    pub fn follow(&self) -> watch::Receiver<FlagState> {
        self.flagged.subscribe()
    }

    /// The watermark for callbacks and webhooks.
    pub fn watermark(&self) -> &HighWatermark {
        &self.watermark
    }

    /// Changes the flag and returns the new version. The version also changes if the modes stay the same,
    /// so that a caller can see that another one confirmed them.
    ///
    /// # Errors
    /// `only_if` is not the current version.
    pub fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        let mut answer = Err(FlagError::Changed);
        self.flagged.send_if_modified(|flagged| {
            if only_if.is_some_and(|version| version != flagged.version) {
                return false;
            }
            let changed = flagged.modes != modes;
            if changed {
                // Under the same lock, so that the watermark always fits the modes.
                self.set_watermark(modes);
                tracing::info!(%modes, "the transport's flag is now: {modes}");
            }
            *flagged = FlagState {
                modes,
                version: flagged.version + 1,
            };
            answer = Ok(flagged.version);
            changed
        });
        answer
    }

    /// The report without a broker: everything is direct.
    pub fn report(&self) -> TransportReport {
        let modes = self.state().modes;
        let report = |channel| TransportChannel {
            channel,
            mode: modes.of(channel),
            cursor: None,
            lag: None,
            sent: 0,
            failed: 0,
            comparison: Comparison::default(),
        };
        TransportReport {
            channels: Channel::ALL.into_iter().map(report).collect(),
            broker: TransportBroker {
                kind: "none",
                url: String::new(),
                state: "off",
                silent: None,
                since: self.since,
                error: None,
                connections: 0,
                dead_letters: 0,
                answers_lost: 0,
            },
            direct: true,
            timestamp: self.registry.clock().now().wall,
        }
    }

    fn set_watermark(&self, modes: Modes) {
        if modes.events == Mode::Queue {
            self.watermark.hold(self.registry.newest());
        } else {
            self.watermark.lift();
        }
    }
}

#[cfg(test)]
mod tests;
