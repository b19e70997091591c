//! The flag as doors and the migration see it.

use std::time::Duration;

use tokio::sync::watch;

use super::{Direct, Flag, amqp::BrokerTransport};
use crate::{
    api::{ReadyPart, TransportReport},
    model::{FlagError, FlagState, Mode, Modes},
    registry::Registry,
};

/// The flag, and the way over a broker where there is one.
#[derive(Clone, Debug)]
pub struct TransportSwitch {
    registry: Registry,
    flag: Flag,
    way: Option<BrokerTransport>,
    /// Whether changes may go directly.
    direct: bool,
}

impl TransportSwitch {
    /// `way` is the transport over a broker, if there is one; `direct` allows mode direct.
    pub fn new(
        registry: Registry,
        flag: Flag,
        way: Option<BrokerTransport>,
        direct: Direct,
    ) -> Self {
        Self {
            registry,
            flag,
            way,
            direct: direct == Direct::On,
        }
    }

    /// The registry whose changes are sent.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The transport over a broker.
    pub fn way(&self) -> Option<&BrokerTransport> {
        self.way.as_ref()
    }

    /// Modes, progress and broker of every channel.
    pub fn report(&self) -> TransportReport {
        match &self.way {
            Some(way) => TransportReport {
                channels: way.channels(),
                broker: way.broker(),
                direct: self.direct,
                timestamp: self.registry.clock().now().wall,
            },
            None => self.flag.report(),
        }
    }

    /// The modes as they are now.
    pub fn flag(&self) -> FlagState {
        self.flag.state()
    }

    /// Follows the modes.
    pub fn follow(&self) -> watch::Receiver<FlagState> {
        self.flag.follow()
    }

    /// Waits at most `max` until the broker has confirmed everything that was sent to it. False if it has not.
    pub async fn settled(&self, max: Duration) -> bool {
        match &self.way {
            Some(way) => way.settled(max).await,
            None => true,
        }
    }

    /// Changes the modes, if their version is still `only_if`. Answers with the new version.
    ///
    /// # Errors
    /// The version is another one, or the broker is missing or cannot be used.
    pub async fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        match &self.way {
            Some(way) => way.set(modes, only_if).await,
            None if !modes.use_broker() => self.flag.change(modes, only_if).await,
            None => Err(FlagError::NoBroker),
        }
    }

    /// Ready while changes reach all subscribers: an unavailable broker matters only where they are not
    /// delivered directly. In mode queue they wait for it until the mode changes.
    pub fn ready(&self) -> ReadyPart {
        let report = self.report();
        let modes = self.flag().modes;
        let stuck = self.way.as_ref().and_then(BrokerTransport::stuck);
        let broken = self.way.as_ref().and_then(BrokerTransport::broken_queue);
        let error = report.broker.error.or(stuck);
        let (ok, detail) = match error {
            // A channel that uses it does not work, whatever the others do.
            Some(error) if broken.is_some() => (false, format!("{modes}; {error}")),
            None => (true, format!("{modes}; broker: {}", report.broker.state)),
            Some(error) if modes.events != Mode::Queue => (
                true,
                format!("{modes}; the broker can't be used, changes go directly: {error}"),
            ),
            Some(error) => (
                false,
                format!("{modes}; the broker can't be used, changes wait in the log: {error}"),
            ),
        };
        ReadyPart {
            name: "transport",
            ok,
            detail,
        }
    }
}
