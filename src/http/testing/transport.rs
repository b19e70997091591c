//! A flag without a transport behind it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    api::{Comparison, TransportBroker, TransportChannel, TransportReport},
    http::Transports,
    model::{Channel, FlagError, FlagState, Mode, Modes, Timestamp},
};

/// A flag that can be changed to anything but queue for discovery: then the broker is out of reach.
#[derive(Debug)]
pub(in crate::http) struct StagedFlag(watch::Sender<FlagState>);

impl Default for StagedFlag {
    fn default() -> Self {
        let modes = Modes::all(Mode::Direct);
        Self(watch::Sender::new(FlagState { modes, version: 0 }))
    }
}

impl Transports for StagedFlag {
    fn report(&self) -> TransportReport {
        let modes = self.flag().modes;
        let report = |channel| TransportChannel {
            channel,
            mode: modes.of(channel),
            cursor: None,
            lag: Some(3),
            sent: 2,
            failed: 1,
            comparison: Comparison::default(),
        };
        TransportReport {
            channels: Channel::ALL.into_iter().map(report).collect(),
            broker: TransportBroker {
                kind: "external",
                url: "amqp://rabbit:5672/".to_owned(),
                state: "away",
                silent: Some(Duration::from_millis(1_500)),
                since: Timestamp(0),
                error: Some("gone".to_owned()),
                connections: 4,
                dead_letters: 0,
                answers_lost: 0,
            },
            direct: true,
            timestamp: Timestamp(0),
        }
    }

    fn flag(&self) -> FlagState {
        *self.0.borrow()
    }

    fn set(&self, modes: Modes, _: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(async move {
            if modes.discovery == Mode::Queue {
                return Err(FlagError::Unreachable("it is away".to_owned()));
            }
            if modes.health == Mode::Queue {
                return Err(FlagError::NoBroker);
            }
            self.0.send_modify(|flagged| {
                flagged.modes = modes;
                flagged.version += 1;
            });
            Ok(self.flag().version)
        })
    }
}
