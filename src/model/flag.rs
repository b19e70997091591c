//! The flag: the mode of each channel, and why it can't be changed.

use super::Modes;

/// The flag at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlagState {
    /// The mode of each channel.
    pub modes: Modes,
    /// Grows with every change, also one to the same modes. A caller that read it can detect whether another
    /// caller changed the flag since.
    pub version: u64,
}

/// Why the flag was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FlagError {
    /// There is neither an embedded broker nor another one.
    #[error(
        "there is no broker: set broker.listen or transport.amqp_url, or leave the mode direct"
    )]
    NoBroker,
    /// Direct delivery is switched off.
    #[error("transport.direct is \"off\": no channel can be direct or dual")]
    NoDirect,
    /// The broker can't be reached, or refuses something that the new modes need.
    #[error("the broker can't be used, nothing was changed: {0}")]
    Unreachable(String),
    /// The flag was changed after the caller read it.
    #[error("the flag was changed by another caller in the meantime")]
    Changed,
}
