//! The flag as doors and the migration see it.

mod metrics;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub(super) use self::metrics::show;
use super::amqp::Way;
use crate::{
    api::{ReadyPart, TransportReport},
    config::Config,
    http::{Readiness, Transports},
    migration::FlagControl,
    model::{FlagError, FlagState, Mode, Modes},
    registry::Registry,
    transport::{Direct, Flag},
};

/// The flag, and the way over a broker where there is one.
#[derive(Clone, Debug)]
pub(super) struct TransportSwitch {
    pub(super) registry: Registry,
    pub(super) flag: Flag,
    pub(super) way: Option<Way>,
    /// Whether changes may go directly.
    pub(super) direct: bool,
}

impl TransportSwitch {
    pub(super) fn new(config: &Config, registry: &Registry, flag: Flag, way: Option<Way>) -> Self {
        Self {
            registry: registry.clone(),
            flag,
            way,
            direct: config.transport.direct == Direct::On,
        }
    }

    pub(super) fn report(&self) -> TransportReport {
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

    pub(super) fn flag(&self) -> FlagState {
        self.flag.state()
    }

    async fn set(&self, modes: Modes, only_if: Option<u64>) -> Result<u64, FlagError> {
        match &self.way {
            Some(way) => way.set(modes, only_if).await,
            None if !modes.use_broker() => self.flag.set(modes, only_if),
            None => Err(FlagError::NoBroker),
        }
    }

    /// Ready while changes reach all subscribers: an unavailable broker matters only where they are not
    /// delivered directly. In mode queue they wait for it until the mode changes.
    fn ready(&self) -> ReadyPart {
        let report = self.report();
        let modes = self.flag().modes;
        let stuck = self.way.as_ref().and_then(Way::stuck);
        let broken = self.way.as_ref().and_then(Way::broken_queue);
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

impl Transports for TransportSwitch {
    fn report(&self) -> TransportReport {
        self.report()
    }

    fn flag(&self) -> FlagState {
        self.flag()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(self.set(modes, only_if))
    }
}

impl FlagControl for TransportSwitch {
    fn report(&self) -> TransportReport {
        self.report()
    }

    fn flag(&self) -> FlagState {
        self.flag()
    }

    fn follow(&self) -> watch::Receiver<FlagState> {
        self.flag.follow()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(self.set(modes, only_if))
    }

    fn settled(&self, max: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            match &self.way {
                Some(way) => way.settled(max).await,
                None => true,
            }
        })
    }
}

impl Readiness for TransportSwitch {
    fn parts(&self) -> Vec<ReadyPart> {
        let counts = self.registry.counts();
        let registry = ReadyPart {
            name: "registry",
            // It is in memory: ready as soon as it answers.
            ok: true,
            detail: format!(
                "instances: {}, services: {}",
                counts.instances, counts.services
            ),
        };
        vec![registry, self.ready()]
    }
}
