//! Section `http`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

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
    pub body_max: ByteSize,
    /// How much of a body that is too large is read so that the client can read the answer.
    pub body_drain_max: ByteSize,
    /// The largest head of a request.
    pub head_max: ByteSize,
    /// The most headers of a request; any other number than 100 costs a little time with each.
    pub headers_max: usize,
    /// The most connections at once.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// How long a request may take; long polls and streams have their own limits.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a connection may be idle between two requests.
    #[serde(with = "humantime_serde")]
    pub keep_alive: Duration,
    /// How long a client may leave what is sent to it unread.
    #[serde(with = "humantime_serde")]
    pub write_timeout: Duration,
    /// At a stop, how long requests under way may take before they are cut off.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// Answers from this size on are compressed for clients that ask for it.
    pub gzip_min: ByteSize,
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
            body_max: ByteSize::mib(1),
            body_drain_max: ByteSize::mib(8),
            head_max: ByteSize::kib(64),
            headers_max: HEADERS_MAX_DEFAULT,
            connections_max: 16_384,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(3),
            gzip_min: ByteSize::kib(4),
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
        let times = [
            ("header_timeout", self.header_timeout),
            ("request_timeout", self.request_timeout),
            ("keep_alive", self.keep_alive),
            ("write_timeout", self.write_timeout),
        ];
        for (key, value) in times {
            if value < Duration::from_millis(10) {
                faults.push(format!("http.{key} must be at least 10ms"));
            }
        }
        // The smallest buffer that the HTTP parser takes.
        if self.head_max < ByteSize::kib(8) || self.head_max > ByteSize::mib(4) {
            faults.push("http.head_max must be between 8KiB and 4MiB".to_owned());
        }
        if self.headers_max < 16 || self.headers_max > 10_000 {
            faults.push("http.headers_max must be between 16 and 10000".to_owned());
        }
        if self.body_max > ByteSize::gib(1) || self.body_max == ByteSize::b(0) {
            faults.push("http.body_max must be between 1B and 1GiB".to_owned());
        }
        if self.connections_max == 0 {
            faults.push("http.connections_max must be at least 1".to_owned());
        }
        if let Err(error) = Policy::new(&self.cors) {
            faults.push(error.to_string());
        }
        faults.extend(self.watch.faults());
        faults
    }
}

#[cfg(test)]
mod tests;
