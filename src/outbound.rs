//! Requests towards addresses that somebody else named: checked, bounded, with a deadline.
//!
//! Knows nothing of checks or webhooks. Never connects to an address it has not checked, and never
//! resolves a name again between the check and the connection.

mod client;
mod dial;
mod error;
mod grpc;
mod http1;
mod networks;
mod pool;
mod resolve;
mod stream;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::Deserialize;

use crate::quantity::{Bounded, DAY, MIB};

pub use self::{
    client::{Answer, Client, Request},
    error::{OutboundError, Step},
    grpc::{GrpcCall, Serving},
    networks::{Denied, Networks, Rule},
};

/// Section `outbound`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks that may be reached.
    pub allow: Vec<IpNet>,
    /// Networks that may not, even if they are allowed; checked after names are resolved.
    pub deny: Vec<IpNet>,
    /// Certificates (PEM) that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// The most idle connections kept for later, in all.
    pub pool_max: Bounded<usize, 0, 1_000_000>,
    /// How long an idle connection is kept.
    pub pool_idle_max: Bounded<Duration, 0, DAY>,
    /// The most bytes of an answer's head.
    pub head_max: Bounded<ByteSize, 64, { 64 * MIB }>,
    /// The most headers of an answer.
    pub headers_max: Bounded<usize, 1, 10_000>,
    /// How long a resolved name is remembered; one that failed, a tenth of it.
    pub resolved_ttl: Bounded<Duration, 0, DAY>,
    /// The most names remembered.
    pub resolved_max: Bounded<usize, 1, 10_000_000>,
    /// The most names being resolved at once.
    pub resolving_max: Bounded<usize, 1, 100_000>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: networks::allowed_by_default(),
            deny: networks::denied_by_default(),
            ca_file: None,
            pool_max: 1024.into(),
            pool_idle_max: Duration::from_secs(60).into(),
            head_max: ByteSize::kib(16).into(),
            headers_max: 100.into(),
            resolved_ttl: Duration::from_secs(10).into(),
            resolved_max: 4096.into(),
            resolving_max: 16.into(),
        }
    }
}
