//! Section `http`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::quantity::{Bounded, DAY, GIB, KIB, MIB};

use super::{
    rest::broker,
    serve::cors::{Cors, Policy},
    watch,
};

/// As many headers as the HTTP parser takes without an allocation.
pub(super) const HEADERS_MAX_DEFAULT: usize = 100;

/// Section `http`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; empty leaves the door shut.
    pub listen: String,
    /// The largest body of a request.
    pub body_max: Bounded<ByteSize, 1, GIB>,
    /// How much of a body that is too large is read so that the client can read the answer.
    pub body_drain_max: Bounded<ByteSize, 0, GIB>,
    /// The largest head of a request.
    pub head_max: Bounded<ByteSize, { 8 * KIB }, { 4 * MIB }>,
    /// The most headers of a request; any other number than 100 costs a little time with each.
    pub headers_max: Bounded<usize, 16, 10_000>,
    /// The most connections at once.
    pub connections_max: Bounded<usize, 1, 10_000_000>,
    /// How long a client may take to send the head of a request.
    pub header_timeout: Bounded<Duration, 10, DAY>,
    /// How long a request may take; long polls and streams have their own limits.
    pub request_timeout: Bounded<Duration, 10, DAY>,
    /// How long a connection may be idle between two requests.
    pub keep_alive: Bounded<Duration, 10, DAY>,
    /// How long a client may leave what is sent to it unread.
    pub write_timeout: Bounded<Duration, 10, DAY>,
    /// At a stop, how long requests under way may take before they are cut off.
    pub drain: Bounded<Duration, 0, DAY>,
    /// Answers from this size on are compressed for clients that ask for it.
    pub gzip_min: Bounded<ByteSize, 0, GIB>,
    /// Which pages of other origins may use the API.
    pub cors: Cors,
    /// Streams and long polls.
    pub watch: watch::Config,
    /// What is shown of the embedded broker.
    pub broker: broker::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8000".to_owned(),
            body_max: ByteSize::mib(1).into(),
            body_drain_max: ByteSize::mib(8).into(),
            head_max: ByteSize::kib(64).into(),
            headers_max: HEADERS_MAX_DEFAULT.into(),
            connections_max: 16_384.into(),
            header_timeout: Duration::from_secs(10).into(),
            request_timeout: Duration::from_secs(30).into(),
            keep_alive: Duration::from_secs(75).into(),
            write_timeout: Duration::from_secs(30).into(),
            drain: Duration::from_secs(3).into(),
            gzip_min: ByteSize::kib(4).into(),
            cors: Cors::default(),
            watch: watch::Config::default(),
            broker: broker::Config::default(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Err(error) = Policy::new(&self.cors) {
            faults.push(error.to_string());
        }
        faults
    }
}

#[cfg(test)]
mod tests;
