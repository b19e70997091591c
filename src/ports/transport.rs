//! What a door and the migration may ask of the transport.

use std::{fmt, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

use super::Boxed;
use crate::{
    api::{Discover, TransportReport},
    model::Modes,
};

/// The flag as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flagged {
    /// The mode of each channel.
    pub modes: Modes,
    /// Grows whenever somebody decides, even for the same modes, so that whoever decides can see that
    /// somebody else did meanwhile.
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
    /// Direct delivery was switched off.
    #[error("transport.direct is \"off\": no channel can be direct or dual")]
    NoDirect,
    /// The broker can't be reached, or refuses what is needed of it.
    #[error("the broker can't be used, nothing was changed: {0}")]
    Unreachable(String),
    /// Somebody else changed it since the caller looked.
    #[error("the flag was changed by somebody else meanwhile")]
    Changed,
}

/// The flag, and how it goes on both ways.
pub trait Transports: fmt::Debug + Send + Sync {
    /// How each channel and the broker fare.
    fn report(&self) -> TransportReport;

    /// The flag as it stands.
    fn flagged(&self) -> Flagged;

    /// Tells of every change of the modes.
    fn follow(&self) -> watch::Receiver<Flagged>;

    /// Changes the flag; answered when what the new modes need stands at the broker, within 5 s. With
    /// `only_if` it is changed only while that version stands. Answers with the new version.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn set(&self, modes: Modes, only_if: Option<u64>) -> Boxed<'_, Result<u64, FlagError>>;

    /// Waits until everything that is direct has left the broker: consumers cancelled and drained, and
    /// the connection closed where no channel needs it any more. False when that took longer than `max`.
    fn settled(&self, max: Duration) -> Boxed<'_, bool>;
}

/// The connections of the embedded broker.
pub trait Connections: fmt::Debug + Send + Sync {
    /// Whether this one is still there.
    fn is_open(&self, connection: u64) -> bool;
}

/// What the direct way answers, to compare others with: a request to our own REST, within the process.
pub trait DirectAnswers: fmt::Debug + Send + Sync {
    /// The body of GET /services/discover/{name}; none when it was refused.
    fn discover<'a>(&'a self, name: &'a str, wanted: &'a Discover) -> Boxed<'a, Option<Bytes>>;

    /// The body of GET /services/{id}; none when there is no such instance.
    fn instance<'a>(&'a self, id: &'a str) -> Boxed<'a, Option<Bytes>>;
}
