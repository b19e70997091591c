//! Section `transport`: which way changes go, how many are told of them, and how patiently.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de::Error};

use super::Policy;
use crate::model::{Channel, Mode, Modes};

/// The longest that anything waits.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// No body is limited to less.
const BODY_MIN: ByteSize = ByteSize::kib(1);

/// Section `transport`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The mode of every channel that has none of its own.
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
    /// Whether the direct way is there.
    pub direct: Direct,
    /// The broker; empty means the embedded one.
    pub amqp_url: String,
    /// How it is spoken to.
    pub amqp: AmqpConfig,
    /// In-process callbacks at most.
    pub callbacks_max: usize,
    /// Webhooks at most.
    pub webhooks_max: usize,
    /// Webhook requests under way at once, to receivers that did not fail last time.
    pub deliveries_max: usize,
    /// Webhook requests under way at once, to receivers that failed last time; so they can't hold up
    /// the others.
    pub retries_max: usize,
    /// Webhook requests under way at once that carry a snapshot, which can be large; as many again to
    /// receivers that failed last time.
    pub snapshots_max: usize,
    /// How long a webhook's receiver may take to answer.
    #[serde(with = "humantime_serde")]
    pub webhook_timeout: Duration,
    /// The longest wait after a first failure; it doubles with each further one.
    #[serde(with = "humantime_serde")]
    pub backoff_first: Duration,
    /// The longest wait between two attempts while the circuit is closed.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Failures in a row that open a receiver's circuit.
    pub circuit_after: u32,
    /// The longest time an open circuit waits before it lets one attempt through; half of it is the
    /// shortest.
    #[serde(with = "humantime_serde")]
    pub circuit_open: Duration,
    /// Refusals (4xx) of one event in a row after which a snapshot is sent in its place.
    pub refusals_max: u32,
    /// At a stop, the longest time to deliver what is left; and for probes under way, when they leave
    /// the queue.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// Whether changes may go directly.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Direct {
    /// They may.
    On,
    /// They may not: the migration is over. What the broker does not take waits in the log.
    Off,
}

/// Section `transport.amqp`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// A PEM file of certificates that are trusted besides the public ones; for amqps.
    pub ca_file: Option<PathBuf>,
    /// How long it may take until a connection stands, with all that is declared over it.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often the broker is asked whether it is there.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// How long the broker may leave anything unanswered before its connection is given up.
    #[serde(with = "humantime_serde")]
    pub answer_timeout: Duration,
    /// The longest wait before the second attempt to connect; it doubles with each further one.
    #[serde(with = "humantime_serde")]
    pub backoff_first: Duration,
    /// The longest wait between two attempts to connect.
    #[serde(with = "humantime_serde")]
    pub backoff_max: Duration,
    /// Messages sent and not confirmed yet, at most.
    pub window: usize,
    /// Messages taken from a queue and not acknowledged yet, at most.
    pub prefetch: u16,
    /// The largest body: a snapshot that would be larger is sent in parts.
    pub body_max: ByteSize,
    /// An event that takes longer over the broker counts as late.
    #[serde(with = "humantime_serde")]
    pub late_after: Duration,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            connect_timeout: Duration::from_secs(4),
            ping: Duration::from_millis(500),
            answer_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            window: 256,
            prefetch: 256,
            body_max: ByteSize::mib(8),
            late_after: Duration::from_secs(1),
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
            callbacks_max: 1_000,
            webhooks_max: 1_000,
            deliveries_max: 256,
            retries_max: 64,
            snapshots_max: 16,
            webhook_timeout: Duration::from_secs(5),
            backoff_first: Duration::from_millis(200),
            backoff_max: Duration::from_secs(10),
            circuit_after: 5,
            circuit_open: Duration::from_secs(15),
            refusals_max: 10,
            drain: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let times = [
            ("webhook_timeout", self.webhook_timeout),
            ("backoff_first", self.backoff_first),
            ("backoff_max", self.backoff_max),
            ("circuit_open", self.circuit_open),
            ("amqp.connect_timeout", self.amqp.connect_timeout),
            ("amqp.ping", self.amqp.ping),
            ("amqp.answer_timeout", self.amqp.answer_timeout),
            ("amqp.backoff_first", self.amqp.backoff_first),
            ("amqp.backoff_max", self.amqp.backoff_max),
            ("amqp.late_after", self.amqp.late_after),
        ];
        for (key, value) in times {
            if value < Duration::from_millis(1) || value > DURATION_MAX {
                faults.push(format!("transport.{key} must be between 1ms and 1day"));
            }
        }
        if self.backoff_first > self.backoff_max {
            faults.push("transport.backoff_first must not exceed transport.backoff_max".to_owned());
        }
        let counts = [
            ("deliveries_max", self.deliveries_max),
            ("retries_max", self.retries_max),
            ("snapshots_max", self.snapshots_max),
            ("amqp.window", self.amqp.window),
            ("amqp.prefetch", self.amqp.prefetch.into()),
            (
                "circuit_after",
                usize::try_from(self.circuit_after).unwrap_or(usize::MAX),
            ),
            (
                "refusals_max",
                usize::try_from(self.refusals_max).unwrap_or(usize::MAX),
            ),
        ];
        for (key, value) in counts {
            if value == 0 {
                faults.push(format!("transport.{key} must be at least 1"));
            }
        }
        if self.amqp.body_max < BODY_MIN {
            faults.push(format!(
                "transport.amqp.body_max must be at least {BODY_MIN}"
            ));
        }
        faults
    }

    /// What is wrong with the modes it asks for, given whether there is a broker.
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
            backoff_first: self.backoff_first,
            backoff_max: self.backoff_max,
            circuit_after: self.circuit_after,
            circuit_open: self.circuit_open,
            refusals_max: self.refusals_max,
        }
    }
}

#[cfg(test)]
mod tests;
