//! The flag: the mode of each channel, the state of both ways, and changes.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    problem::Problem,
    read::{self, Faults, Object, Shape},
    vocabulary::millis_or_null,
    warnings::Warnings,
};
use crate::model::{Channel, Cursor, Mode, Modes, Timestamp};

/// What a caller wants of the flag; channels that are not named stay as they are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlagDraft {
    events: Option<Mode>,
    health: Option<Mode>,
    discovery: Option<Mode>,
}

impl FlagDraft {
    /// Reads `{"mode"}` for all channels, or `{"channels":{"events":mode, …}}`, or both: then a channel's
    /// own word wins. Says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const SHAPE: Shape = Shape {
            known: &["mode", "channels"],
            own: &["broker", "direct", "timestamp", "warnings"],
        };
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let all = faults.optional(&object, "mode", mode);
        let mut draft = Self {
            events: all,
            health: all,
            discovery: all,
        };
        if let Some(channels) = object.get("channels") {
            draft.read_channels(channels, &mut faults);
        }
        if faults.errors.is_empty() && draft == Self::default() {
            let message =
                "is required: direct, dual or queue; or \"channels\" with a mode for each";
            return Err(Problem::field("mode", message));
        }
        if faults.errors.is_empty() {
            Ok((draft, Warnings::of(&object)))
        } else {
            Err(Problem::invalid(faults.errors))
        }
    }

    fn read_channels(&mut self, value: &RawValue, faults: &mut Faults) {
        const SHAPE: Shape = Shape {
            known: &["events", "health", "discovery"],
            own: &[],
        };
        let Ok(channels) = Object::body(value.get().as_bytes(), SHAPE) else {
            faults.add(
                "channels",
                "must be an object such as {\"events\":\"dual\"}".to_owned(),
            );
            return;
        };
        for unknown in &channels.unknown {
            let message = "is no channel: events, health and discovery are".to_owned();
            faults.add(&format!("channels.{unknown}"), message);
        }
        for channel in Channel::ALL {
            // The answer of a GET may be sent again: an object with the mode in it.
            let Some(value) = channels.get(channel.as_str()) else {
                continue;
            };
            match channel_mode(value) {
                Ok(mode) => *self.slot(channel) = Some(mode),
                Err(message) => faults.add(&format!("channels.{channel}"), message),
            }
        }
    }

    fn slot(&mut self, channel: Channel) -> &mut Option<Mode> {
        match channel {
            Channel::Events => &mut self.events,
            Channel::Health => &mut self.health,
            Channel::Discovery => &mut self.discovery,
        }
    }

    /// The flag as it shall be, from what it is.
    pub fn applied_to(&self, modes: Modes) -> Modes {
        Modes {
            events: self.events.unwrap_or(modes.events),
            health: self.health.unwrap_or(modes.health),
            discovery: self.discovery.unwrap_or(modes.discovery),
        }
    }
}

fn channel_mode(value: &RawValue) -> Result<Mode, String> {
    const SHAPE: Shape = Shape {
        known: &["mode"],
        own: &[],
    };
    if value.get().trim_start().starts_with('{') {
        let inner = Object::body(value.get().as_bytes(), SHAPE);
        let inner = inner.map_err(|_| "is not usable JSON".to_owned())?;
        return mode(inner.get("mode").ok_or("needs \"mode\"")?);
    }
    mode(value)
}

fn mode(value: &RawValue) -> Result<Mode, String> {
    Mode::parse(&read::text(value)?.to_ascii_lowercase()).ok_or_else(|| {
        let quoted = read::quoted(value);
        format!("{quoted} is not one of direct, dual, queue")
    })
}

/// The state of one channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TransportChannel)]
pub struct ChannelReport {
    /// Which; the key of the report in the answer.
    #[serde(skip)]
    pub channel: Channel,
    /// How it travels.
    pub mode: Mode,
    /// The last change that the broker has confirmed; null for a channel that carries no changes.
    pub cursor: Option<Cursor>,
    /// Changes that the broker has not confirmed yet.
    pub lag: Option<u64>,
    /// Messages confirmed, requests answered.
    pub sent: u64,
    /// Messages refused, returned or not answered; they are sent again.
    pub failed: u64,
    /// Where both ways were used.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// How the broker's way agrees with the direct one, since the daemon's start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// What came both ways.
    pub compared: u64,
    /// What came directly only.
    pub missing: u64,
    /// What came over the broker later than `transport.amqp.late_after`.
    pub late: u64,
    /// What had another content.
    pub different: u64,
}

/// The state of the broker.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TransportBroker)]
pub struct BrokerReport {
    /// embedded, external or none.
    pub kind: &'static str,
    /// Its URL, without a password.
    pub url: String,
    /// off when no channel needs it, up, or away.
    pub state: &'static str,
    /// Since when the state has lasted.
    pub since: Timestamp,
    /// Milliseconds since its last answer; null while it answers or nothing asks it.
    #[serde(rename = "silent_ms", serialize_with = "millis_or_null")]
    #[schema(value_type = Option<f64>)]
    pub silent: Option<Duration>,
    /// The last failure; null while it is up.
    pub error: Option<String>,
    /// Connections made since the daemon's start.
    pub connections: u64,
    /// Messages put into `musterd.dead` since then, because they could not be read.
    pub dead_letters: u64,
    /// Answers to commands that could not be sent since then, usually because of an invented `reply_to`.
    pub answers_lost: u64,
}

/// The transport: each channel, and the broker.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Transport)]
pub struct TransportReport {
    /// events, health and discovery.
    #[serde(serialize_with = "by_channel")]
    #[schema(value_type = std::collections::BTreeMap<String, ChannelReport>)]
    pub channels: Vec<ChannelReport>,
    /// The broker.
    pub broker: BrokerReport,
    /// on, or off if `transport.direct` closes the direct way.
    #[serde(serialize_with = "on_or_off")]
    #[schema(value_type = String)]
    pub direct: bool,
    /// When.
    pub timestamp: Timestamp,
}

fn by_channel<S: Serializer>(channels: &[ChannelReport], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(channels.iter().map(|one| (one.channel, one)))
}

fn on_or_off<S: Serializer>(on: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *on { "on" } else { "off" })
}

impl TransportReport {
    /// One channel.
    pub fn channel(&self, channel: Channel) -> Option<&ChannelReport> {
        self.channels.iter().find(|one| one.channel == channel)
    }
}

#[cfg(test)]
mod tests;
