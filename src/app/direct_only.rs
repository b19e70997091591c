//! The flag of a daemon that has no broker: every channel is direct and stays so.

use std::time::Duration;

use tokio::sync::watch;

use crate::{
    api::{BrokerReport, ChannelReport, Comparison, TransportReport},
    model::{Channel, Mode, Modes, Timestamp},
    ports::{Boxed, FlagError, Flagged, Transports},
};

/// No broker.
#[derive(Debug)]
pub(super) struct DirectOnly {
    flag: watch::Sender<Flagged>,
    since: Timestamp,
}

impl DirectOnly {
    pub(super) fn new(since: Timestamp) -> Self {
        let flagged = Flagged {
            modes: Modes::all(Mode::Direct),
            version: 0,
        };
        Self {
            flag: watch::Sender::new(flagged),
            since,
        }
    }
}

impl Transports for DirectOnly {
    fn report(&self) -> TransportReport {
        let channel = |channel| ChannelReport {
            channel,
            mode: Mode::Direct,
            cursor: None,
            lag: None,
            sent: 0,
            failed: 0,
            comparison: Comparison::default(),
        };
        TransportReport {
            channels: Channel::ALL.into_iter().map(channel).collect(),
            broker: BrokerReport {
                kind: "none",
                url: String::new(),
                state: "off",
                silent: None,
                since: self.since,
                error: None,
                connections: 0,
            },
            direct: true,
        }
    }

    fn flagged(&self) -> Flagged {
        *self.flag.borrow()
    }

    fn follow(&self) -> watch::Receiver<Flagged> {
        self.flag.subscribe()
    }

    fn set(&self, modes: Modes, _: Option<u64>) -> Boxed<'_, Result<u64, FlagError>> {
        let answer = if modes.use_broker() {
            Err(FlagError::NoBroker)
        } else {
            Ok(self.flagged().version)
        };
        Box::pin(std::future::ready(answer))
    }

    fn settled(&self, _: Duration) -> Boxed<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}
