//! Section `http`.

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use serde::Deserialize;

use super::{
    dashboard::DashboardMode,
    rest::BrokerConfig,
    serve::{Cors, ServeLimits, access, watchdog::Patience},
    tls, watch,
};
use crate::quantity::{Bounded, DAY, GIB, KIB, MIB};

/// As many headers as the HTTP parser takes without an allocation.
pub(super) const HEADERS_MAX_DEFAULT: usize = 100;

/// Section `http`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; empty switches HTTP off.
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
    /// How long a client may leave an answer unread.
    pub write_timeout: Bounded<Duration, 10, DAY>,
    /// The most requests at once of one HTTP/2 connection.
    pub http2_streams_max: Bounded<u32, 1, 10_000>,
    /// At a stop, how long requests under way may take before they are cut off.
    pub drain: Bounded<Duration, 0, DAY>,
    /// Answers from this size on are compressed for clients that accept it.
    pub gzip_min: Bounded<ByteSize, 0, GIB>,
    /// Bytes of large answers, and of versions that were replaced while they are sent, that are held for clients that
    /// read slowly, all together. Beyond it the connections of the slowest are closed.
    pub held_max: Bounded<ByteSize, MIB, { 1024 * GIB }>,
    /// Names that the server answers to, besides IP addresses, `localhost` and `*.localhost`; `*` for any.
    pub hosts: Vec<String>,
    /// Which pages of other origins may use the API.
    pub cors: Cors,
    /// Whether browsers get the dashboard, and whether it offers changes.
    pub dashboard: DashboardMode,
    /// In debug builds: the folder that the dashboard's files are read from at each request, instead of the binary.
    #[serde(skip)]
    pub dashboard_folder: Option<PathBuf>,
    /// TLS and client certificates.
    pub tls: tls::Config,
    /// Streams and long polls.
    pub watch: watch::Config,
    /// The limits of the embedded broker's pages.
    pub broker: BrokerConfig,
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
            http2_streams_max: 128.into(),
            drain: Duration::from_secs(3).into(),
            gzip_min: ByteSize::kib(4).into(),
            held_max: ByteSize::mib(128).into(),
            hosts: Vec::new(),
            cors: Cors::default(),
            dashboard: DashboardMode::default(),
            dashboard_folder: None,
            tls: tls::Config::default(),
            watch: watch::Config::default(),
            broker: BrokerConfig::default(),
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(access::faults(&self.hosts, &self.cors));
        faults.extend(self.tls.faults());
        faults
    }

    /// The limits of clients in `serve`.
    pub(super) fn serve_limits(&self) -> ServeLimits {
        ServeLimits {
            head_max: usize::try_from(self.head_max.as_u64()).unwrap_or(usize::MAX),
            headers_max: self.headers_max.get(),
            connections_max: self.connections_max.get(),
            streams_max: self.http2_streams_max.get(),
            patience: Patience {
                head: self.header_timeout.get(),
                idle: self.keep_alive.get(),
                write: self.write_timeout.get(),
            },
            drain: self.drain.get(),
            gzip_min: self.gzip_min.as_u64(),
            held_max: self.held_max.as_u64(),
        }
    }
}

#[cfg(test)]
mod tests;
