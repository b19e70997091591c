//! The phases of a migration: for each channel first both ways, then the broker alone.

use std::fmt;

use crate::model::{Channel, Mode, Modes};

/// One phase.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Nothing is changed; latencies are measured.
    Baseline,
    /// Health checks both ways.
    HealthDual,
    /// Health checks over the broker.
    HealthQueue,
    /// Events both ways.
    EventsDual,
    /// Events over the broker.
    EventsQueue,
    /// Commands and discovery requests both ways.
    DiscoveryDual,
    /// Commands and discovery requests over the broker.
    DiscoveryQueue,
    /// The migration is complete.
    Done,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 8] = [
        Self::Baseline,
        Self::HealthDual,
        Self::HealthQueue,
        Self::EventsDual,
        Self::EventsQueue,
        Self::DiscoveryDual,
        Self::DiscoveryQueue,
        Self::Done,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::HealthDual => "health dual",
            Self::HealthQueue => "health queue",
            Self::EventsDual => "events dual",
            Self::EventsQueue => "events queue",
            Self::DiscoveryDual => "discovery dual",
            Self::DiscoveryQueue => "discovery queue",
            Self::Done => "done",
        }
    }

    /// The phase of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }

    /// The channel that it changes, with the new mode; none for the first and the last phase.
    pub fn sets(self) -> Option<(Channel, Mode)> {
        match self {
            Self::Baseline | Self::Done => None,
            Self::HealthDual => Some((Channel::Health, Mode::Dual)),
            Self::HealthQueue => Some((Channel::Health, Mode::Queue)),
            Self::EventsDual => Some((Channel::Events, Mode::Dual)),
            Self::EventsQueue => Some((Channel::Events, Mode::Queue)),
            Self::DiscoveryDual => Some((Channel::Discovery, Mode::Dual)),
            Self::DiscoveryQueue => Some((Channel::Discovery, Mode::Queue)),
        }
    }

    /// The modes in this phase, given those of the previous one.
    pub fn after(self, modes: Modes) -> Modes {
        match self.sets() {
            Some((channel, mode)) => modes.with(channel, mode),
            None => modes,
        }
    }

    /// The channel whose two ways are compared in this phase.
    pub fn compares(self) -> Option<Channel> {
        match self.sets() {
            Some((channel, Mode::Dual)) => Some(channel),
            _ => None,
        }
    }

    /// Its number in metrics.
    pub fn number(self) -> i64 {
        match self {
            Self::Baseline => 1,
            Self::HealthDual => 2,
            Self::HealthQueue => 3,
            Self::EventsDual => 4,
            Self::EventsQueue => 5,
            Self::DiscoveryDual => 6,
            Self::DiscoveryQueue => 7,
            Self::Done => 8,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
