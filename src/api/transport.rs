//! The flag: which way each channel goes, how both ways fare, and what is asked of it.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{
    json::Json,
    problem::Problem,
    read::{self, Faults, Object, Shape},
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
            // What GET answered may come back: an object that has the mode in it.
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

/// How one channel fares.
#[derive(Clone, Debug)]
pub struct ChannelReport {
    /// Which.
    pub channel: Channel,
    /// Which way it goes.
    pub mode: Mode,
    /// The last change that the broker has confirmed; none for a channel that carries no changes.
    pub cursor: Option<Cursor>,
    /// How many changes the broker has not confirmed yet.
    pub lag: Option<u64>,
    /// Messages sent to the broker and confirmed, requests answered for discovery.
    pub sent: u64,
    /// Messages that the broker refused or returned, or that were not answered; they are sent again.
    pub failed: u64,
    /// How both ways agree, where both were used.
    pub comparison: Comparison,
}

/// How the broker's way agrees with the direct one; counts since the daemon's start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Comparison {
    /// What came by both ways.
    pub compared: u64,
    /// What came by the direct way only.
    pub missing: u64,
    /// What came over the broker later than allowed.
    pub late: u64,
    /// What said something else.
    pub different: u64,
}

/// How the broker fares.
#[derive(Clone, Debug)]
pub struct BrokerReport {
    /// `embedded`, `external` or `none`.
    pub kind: &'static str,
    /// Where it is, without a password.
    pub url: String,
    /// `off` when no channel needs it, `up`, or `away`.
    pub state: &'static str,
    /// Since when it has not answered; none while it does, or while nobody asks it.
    pub silent: Option<Duration>,
    /// Since when the state stands.
    pub since: Timestamp,
    /// What went wrong last; none while it is up.
    pub error: Option<String>,
    /// Connections made since the daemon's start.
    pub connections: u64,
    /// Messages put into `musterd.dead` since then, because nobody could read them.
    pub dead_letters: u64,
    /// Answers to commands that could not be sent since then.
    pub answers_lost: u64,
}

/// The whole transport.
#[derive(Clone, Debug)]
pub struct TransportReport {
    /// Every channel.
    pub channels: Vec<ChannelReport>,
    /// The broker.
    pub broker: BrokerReport,
    /// Whether the direct way is there at all.
    pub direct: bool,
}

impl TransportReport {
    /// One channel.
    pub fn channel(&self, channel: Channel) -> Option<&ChannelReport> {
        self.channels.iter().find(|one| one.channel == channel)
    }

    /// Its JSON: `{"channels":{name:{…}},"broker":{…},"direct","timestamp"}`.
    pub fn to_json(&self, timestamp: Timestamp) -> Vec<u8> {
        let mut json = Json::with_capacity(1024);
        json.open(b'{');
        json.key("channels").open(b'{');
        for channel in &self.channels {
            json.key(channel.channel.as_str());
            channel.write(&mut json);
        }
        json.close(b'}');
        json.key("broker");
        self.broker.write(&mut json);
        json.key("direct")
            .text(if self.direct { "on" } else { "off" });
        json.key("timestamp").time(timestamp);
        json.close(b'}');
        json.into_bytes()
    }
}

impl ChannelReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("mode").text(self.mode.as_str());
        let cursor = self.cursor.map(|cursor| cursor.to_string());
        json.key("cursor").text_or_null(cursor.as_deref());
        json.key("lag");
        match self.lag {
            Some(lag) => json.number(lag),
            None => json.null(),
        }
        json.key("sent").number(self.sent);
        json.key("failed").number(self.failed);
        json.key("compared").number(self.comparison.compared);
        json.key("missing").number(self.comparison.missing);
        json.key("late").number(self.comparison.late);
        json.key("different").number(self.comparison.different);
        json.close(b'}');
    }
}

impl BrokerReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("kind").text(self.kind);
        json.key("url").text(&self.url);
        json.key("state").text(self.state);
        json.key("since").time(self.since);
        json.key("silent_ms");
        match self.silent {
            Some(silent) => json.decimal(silent.as_secs_f64() * 1000.0),
            None => json.null(),
        }
        json.key("error").text_or_null(self.error.as_deref());
        json.key("connections").number(self.connections);
        json.key("dead_letters").number(self.dead_letters);
        json.key("answers_lost").number(self.answers_lost);
        json.close(b'}');
    }
}

#[cfg(test)]
mod tests;
