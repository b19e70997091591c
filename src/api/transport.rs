//! The flag: the mode of each channel, the state of both ways, and changes.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    problem::Problem,
    read::{self, ObjectFields},
    vocabulary::millis_or_null,
    warnings::Warnings,
};
use crate::model::{Channel, Cursor, Mode, Modes, Timestamp};

/// A change of the flag.
#[derive(Clone, Debug, Default, Eq, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TransportDraft)]
pub struct FlagDraft {
    /// direct, dual or queue, for every channel.
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    /// The same for events, health or discovery.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    channels: Vec<(Channel, Mode)>,
}

impl FlagDraft {
    /// Reads `{"mode"}` for all channels, or `{"channels":{"events":mode, …}}`, or both: then a channel's
    /// own word wins. Channels that are not named stay as they are. Says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        const ANSWERED: [&str; 4] = ["broker", "direct", "timestamp", "warnings"];
        read::request(body, &ANSWERED, |fields| {
            let draft = Self {
                mode: fields.optional("mode", mode),
                channels: channels(fields),
            };
            if fields.errors.is_empty() && draft == Self::default() {
                fields.add(
                    "mode",
                    "is required: direct, dual or queue; or \"channels\" with a mode for each",
                );
            }
            Some(draft)
        })
    }

    /// The flag as it shall be, from what it is.
    pub fn applied_to(&self, modes: Modes) -> Modes {
        let common = self.mode.map_or(modes, Modes::all);
        let channels = self.channels.iter();
        channels.fold(common, |modes, (channel, mode)| modes.with(*channel, *mode))
    }
}

fn channels(fields: &mut ObjectFields<'_>) -> Vec<(Channel, Mode)> {
    let an_object = |_| "must be an object such as {\"events\":\"dual\"}".to_owned();
    let read = |value| ObjectFields::of(value).map_err(an_object);
    let Some(mut named) = fields.optional("channels", read) else {
        return Vec::new();
    };
    let found = Channel::ALL.map(|channel| (channel, named.get(channel.as_str())));
    for unknown in named.unread_names(&[]) {
        let message = "is no channel: events, health and discovery are";
        fields.add(&format!("channels.{unknown}"), message);
    }
    let found = found.into_iter().filter_map(|(channel, value)| {
        let mode = channel_mode(value?);
        Some((channel, fields.take(&format!("channels.{channel}"), mode)?))
    });
    found.collect()
}

/// The answer of a GET may be sent again: an object with the mode in it.
fn channel_mode(value: &RawValue) -> Result<Mode, String> {
    if value.get().starts_with('{') {
        let inner = ObjectFields::of(value).map_err(|_| "is not usable JSON".to_owned());
        return mode(inner?.get("mode").ok_or("needs \"mode\"")?);
    }
    mode(value)
}

fn mode(value: &RawValue) -> Result<Mode, String> {
    read::word(value, &Mode::ALL.map(|mode| (mode.as_str(), mode)))
}

/// The state of one channel.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TransportChannel {
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
    /// Messages received both ways.
    pub compared: u64,
    /// Messages received directly only.
    pub missing: u64,
    /// Messages received over the broker later than `transport.amqp.late_after`.
    pub late: u64,
    /// Messages whose contents differ.
    pub different: u64,
}

/// The state of the broker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TransportBroker {
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
    #[schema(value_type = std::collections::BTreeMap<String, TransportChannel>)]
    pub channels: Vec<TransportChannel>,
    /// The broker.
    pub broker: TransportBroker,
    /// on, or off if `transport.direct` closes the direct way.
    #[serde(serialize_with = "on_or_off")]
    #[schema(value_type = String)]
    pub direct: bool,
    /// When.
    pub timestamp: Timestamp,
}

fn by_channel<S: Serializer>(
    channels: &[TransportChannel],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(channels.iter().map(|one| (one.channel, one)))
}

fn on_or_off<S: Serializer>(on: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *on { "on" } else { "off" })
}

impl TransportReport {
    /// One channel.
    pub fn channel(&self, channel: Channel) -> Option<&TransportChannel> {
        self.channels.iter().find(|one| one.channel == channel)
    }
}

#[cfg(test)]
mod tests;
