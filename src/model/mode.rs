//! How each channel sends: directly, over a broker, or both.

use std::fmt;

/// A kind of message that can be sent over a broker instead of directly.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Channel {
    /// Changes of the registry, to subscribers.
    Events,
    /// Health checks, to probers, and their verdicts.
    Health,
    /// Registrations, heartbeats and discovery requests, from clients.
    Discovery,
}

impl Channel {
    /// Every channel, in the order in which a migration moves them.
    pub const ALL: [Self; 3] = [Self::Health, Self::Events, Self::Discovery];

    /// The contract's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Health => "health",
            Self::Discovery => "discovery",
        }
    }

    /// The channel that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.as_str() == text)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way a channel goes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Within the process and by HTTP.
    Direct,
    /// Both ways; the direct one decides, the other is compared with it.
    Dual,
    /// By way of the broker.
    Queue,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Dual, Self::Queue];

    /// The contract's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Dual => "dual",
            Self::Queue => "queue",
        }
    }

    /// The mode that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }

    /// True when a broker is needed.
    pub fn uses_broker(self) -> bool {
        self != Self::Direct
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The flag: the mode of each channel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Modes {
    /// Of events.
    pub events: Mode,
    /// Of health checks.
    pub health: Mode,
    /// Of commands and discovery requests.
    pub discovery: Mode,
}

impl Modes {
    /// The same mode for every channel.
    pub fn all(mode: Mode) -> Self {
        Self {
            events: mode,
            health: mode,
            discovery: mode,
        }
    }

    /// One channel's mode.
    pub fn of(self, channel: Channel) -> Mode {
        match channel {
            Channel::Events => self.events,
            Channel::Health => self.health,
            Channel::Discovery => self.discovery,
        }
    }

    /// The same but for one channel.
    #[must_use]
    pub fn with(mut self, channel: Channel, mode: Mode) -> Self {
        match channel {
            Channel::Events => self.events = mode,
            Channel::Health => self.health = mode,
            Channel::Discovery => self.discovery = mode,
        }
        self
    }

    /// True when at least one channel needs a broker.
    pub fn use_broker(self) -> bool {
        Channel::ALL
            .into_iter()
            .any(|channel| self.of(channel).uses_broker())
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            events,
            health,
            discovery,
        } = self;
        write!(f, "events {events}, health {health}, discovery {discovery}")
    }
}
