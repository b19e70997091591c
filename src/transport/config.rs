//! Section `transport`: modes, limits of subscribers, retries and timeouts.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error};

use super::Policy;
use crate::model::{Channel, Mode, Modes};
use crate::quantity::{Bounded, DAY, GIB, KIB};

/// Section `transport`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The mode of every channel without a separate one.
    #[serde(deserialize_with = "choice")]
    pub mode: Option<Mode>,
    /// The mode of channel events.
    #[serde(deserialize_with = "choice")]
    pub events: Option<Mode>,
    /// The mode of channel health.
    #[serde(deserialize_with = "choice")]
    pub health: Option<Mode>,
    /// The mode of channel discovery.
    #[serde(deserialize_with = "choice")]
    pub discovery: Option<Mode>,
    /// Whether changes may be delivered directly.
    pub direct: Direct,
    /// The broker; empty means the embedded one.
    pub amqp_url: String,
    /// How the broker is used.
    pub amqp: AmqpConfig,
    /// The most in-process callbacks.
    pub callbacks_max: Bounded<usize, 0, 1_000_000>,
    /// The most webhooks.
    pub webhooks_max: Bounded<usize, 0, 1_000_000>,
    /// The most webhook requests at once to receivers whose last request succeeded.
    pub deliveries_max: Bounded<usize, 1, 100_000>,
    /// The most webhook requests at once to receivers whose last request failed. They have a separate limit,
    /// so that they do not delay the others.
    pub retries_max: Bounded<usize, 1, 100_000>,
    /// The most webhook requests at once that carry a snapshot, which can be large; the same number again for
    /// receivers whose last request failed.
    pub snapshots_max: Bounded<usize, 1, 100_000>,
    /// How long a webhook's receiver may take to answer.
    pub webhook_timeout: Bounded<Duration, 1, DAY>,
    /// The longest wait after a first failure; it doubles with each further one.
    pub backoff_first: Bounded<Duration, 1, DAY>,
    /// The longest wait between two attempts while the circuit is closed.
    pub backoff_max: Bounded<Duration, 1, DAY>,
    /// Failures in a row that open a receiver's circuit.
    pub circuit_after: Bounded<u32, 1, 1_000_000>,
    /// The longest time an open circuit waits before it lets one attempt through; half of it is the
    /// shortest.
    pub circuit_open: Bounded<Duration, 1, DAY>,
    /// Refusals (4xx) of one event in a row after which a snapshot is sent in its place.
    pub refusals_max: Bounded<u32, 1, 1_000_000>,
    /// At a stop, the longest time to deliver the remaining events; also the longest time for probes under way when
    /// channel health leaves the queue.
    pub drain: Bounded<Duration, 0, DAY>,
}

/// Whether changes may be delivered directly.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Direct {
    /// Yes.
    On,
    /// No: the migration is complete. Changes that the broker does not accept wait in the log.
    Off,
}

/// Section `transport.amqp`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// A PEM file of certificates that are trusted besides the public ones; for amqps.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that the broker gets if it asks for one; for amqps.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key.
    pub key: Option<PathBuf>,
    /// How long connecting and declaring everything may take.
    pub connect_timeout: Bounded<Duration, 1, DAY>,
    /// How often the broker's availability is checked.
    pub ping: Bounded<Duration, 1, DAY>,
    /// How long the broker may leave a request unanswered before the connection is closed.
    pub answer_timeout: Bounded<Duration, 1, DAY>,
    /// The longest wait before the second attempt to connect; it doubles with each further one.
    pub backoff_first: Bounded<Duration, 1, DAY>,
    /// The longest wait between two attempts to connect.
    pub backoff_max: Bounded<Duration, 1, DAY>,
    /// The most messages that are sent and not confirmed.
    pub window: Bounded<usize, 1, 1_000_000>,
    /// The most messages of a queue that are received and not acknowledged.
    pub prefetch: Bounded<u16, 1, 65_535>,
    /// The largest body: a snapshot that would be larger is sent in parts.
    pub body_max: Bounded<ByteSize, KIB, GIB>,
    /// An event that takes longer over the broker counts as late.
    pub late_after: Bounded<Duration, 1, DAY>,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            certificate: None,
            key: None,
            connect_timeout: Duration::from_secs(4).into(),
            ping: Duration::from_millis(500).into(),
            answer_timeout: Duration::from_secs(5).into(),
            backoff_first: Duration::from_millis(100).into(),
            backoff_max: Duration::from_secs(2).into(),
            window: 256.into(),
            prefetch: 256.into(),
            body_max: ByteSize::mib(8).into(),
            late_after: Duration::from_secs(1).into(),
        }
    }
}

/// A mode, or nothing.
fn choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mode>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || D::Error::custom(format!("\"{text}\" is not one of direct, dual, queue"));
    Mode::parse(&text).map(Some).ok_or_else(wrong)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: None,
            events: None,
            health: None,
            discovery: None,
            direct: Direct::On,
            amqp_url: String::new(),
            amqp: AmqpConfig::default(),
            callbacks_max: 1_000.into(),
            webhooks_max: 1_000.into(),
            deliveries_max: 256.into(),
            retries_max: 64.into(),
            snapshots_max: 16.into(),
            webhook_timeout: Duration::from_secs(5).into(),
            backoff_first: Duration::from_millis(200).into(),
            backoff_max: Duration::from_secs(10).into(),
            circuit_after: 5.into(),
            circuit_open: Duration::from_secs(15).into(),
            refusals_max: 10.into(),
            drain: Duration::from_secs(3).into(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if *self.backoff_first > *self.backoff_max {
            faults.push("transport.backoff_first must not exceed transport.backoff_max".to_owned());
        }
        faults
    }

    /// Faults of the modes, given whether there is a broker.
    pub fn mode_faults(&self, broker: bool) -> Vec<String> {
        let asked = [
            ("mode", self.mode),
            ("events", self.events),
            ("health", self.health),
            ("discovery", self.discovery),
        ];
        let mut faults = Vec::new();
        for (key, mode) in asked {
            match mode {
                Some(mode) if mode.uses_broker() && !broker => faults.push(format!(
                    "transport.{key} = \"{mode}\" needs a broker: set broker.listen or transport.amqp_url"
                )),
                Some(Mode::Direct | Mode::Dual) if self.direct == Direct::Off => faults.push(format!(
                    "transport.{key} must be \"queue\" or empty while transport.direct is \"off\""
                )),
                _ => (),
            }
        }
        if self.direct == Direct::Off && !broker {
            faults.push(
                "transport.direct = \"off\" needs a broker: set broker.listen or transport.amqp_url"
                    .to_owned(),
            );
        }
        faults
    }

    /// The flag at the start, given whether there is a broker.
    pub fn modes(&self, broker: bool) -> Modes {
        let mut modes = match (broker, self.direct) {
            (false, _) => Modes::all(Mode::Direct),
            (true, Direct::Off) => Modes::all(Mode::Queue),
            (true, Direct::On) => Modes {
                events: Mode::Dual,
                health: Mode::Direct,
                discovery: Mode::Dual,
            },
        };
        if let Some(mode) = self.mode {
            modes = Modes::all(mode);
        }
        let own = [
            (Channel::Events, self.events),
            (Channel::Health, self.health),
            (Channel::Discovery, self.discovery),
        ];
        for (channel, mode) in own {
            if let Some(mode) = mode {
                modes = modes.with(channel, mode);
            }
        }
        modes
    }

    /// How long to wait after a failure.
    pub fn policy(&self) -> Policy {
        Policy {
            backoff_first: *self.backoff_first,
            backoff_max: *self.backoff_max,
            circuit_after: *self.circuit_after,
            circuit_open: *self.circuit_open,
            refusals_max: *self.refusals_max,
        }
    }
}

#[cfg(test)]
mod tests;
