//! The flag as doors and the migration see it.

mod metrics;

use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::metrics::show;
use super::amqp::Way;
use crate::{
    api::{Ready, TransportReport},
    model::{Mode, Modes},
    ports::{Boxed, FlagError, Flagged, Transports},
    transport::Flag,
};

/// The flag, and the way over a broker where there is one.
#[derive(Clone, Debug)]
pub(super) struct TransportPort {
    pub(super) flag: Flag,
    pub(super) way: Option<Way>,
    /// Whether changes may go directly.
    pub(super) direct: bool,
}

impl Transports for TransportPort {
    fn report(&self) -> TransportReport {
        match &self.way {
            Some(way) => TransportReport {
                channels: way.channels(),
                broker: way.broker(),
                direct: self.direct,
            },
            None => self.flag.report(),
        }
    }

    fn flagged(&self) -> Flagged {
        self.flag.flagged()
    }

    fn follow(&self) -> watch::Receiver<Flagged> {
        self.flag.follow()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> Boxed<'_, Result<u64, FlagError>> {
        Box::pin(async move {
            match &self.way {
                Some(way) => way.set(modes, only_if).await,
                None => Transports::set(&self.flag, modes, only_if).await,
            }
        })
    }

    fn settled(&self, max: Duration) -> Boxed<'_, bool> {
        Box::pin(async move {
            match &self.way {
                Some(way) => way.settled(max).await,
                None => true,
            }
        })
    }
}

impl TransportPort {
    /// Ready while changes reach everybody: a broker that is away matters only where they don't go
    /// directly. In mode queue they wait for it, until the guard turns the flag or somebody else does.
    pub(super) fn ready(&self) -> Ready {
        let report = self.report();
        let modes = self.flag.flagged().modes;
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
        Ready {
            name: "transport",
            ok,
            detail,
        }
    }
}
