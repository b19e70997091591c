//! Requests to addresses that a client named: the address is checked, sizes and time are limited.
//!
//! Knows nothing about checks or webhooks. Never connects to an address that it has not checked, and never
//! resolves a name again between the check and the connection.

mod client;
mod dial;
mod error;
mod grpc;
mod http1;
mod networks;
mod ping;
mod places;
mod pool;
mod request;
mod resolve;
mod stream;
mod target;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use serde::Deserialize;

use crate::quantity::{Bounded, DAY, MIB};

pub use self::{
    client::Client,
    error::{OutboundError, RequestStep},
    grpc::{GrpcCall, Serving},
    networks::{DeniedAddress, DenyRule, Networks},
    ping::PingTarget,
    places::{Pace, SharedPlaces, Shares, TakenPlace},
    request::{Request, Response},
    tls::Config as TlsConfig,
};

/// Section `outbound`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Networks that probes and webhooks may connect to.
    pub allow: Vec<IpNet>,
    /// Networks that they may not, even if `allow` lists them; checked after names are resolved.
    pub deny: Vec<IpNet>,
    /// Certificates of servers, and one of this client.
    pub tls: TlsConfig,
    /// The most idle connections in the pool.
    pub pool_max: Bounded<usize, 0, 1_000_000>,
    /// How long an idle connection stays in the pool.
    pub pool_idle_max: Bounded<Duration, 0, DAY>,
    /// The most bytes of a response head.
    pub head_max: Bounded<ByteSize, 64, { 64 * MIB }>,
    /// The most headers of a response.
    pub headers_max: Bounded<usize, 1, 10_000>,
    /// How long the addresses of a name are cached; a failed lookup, a tenth of it.
    pub resolved_ttl: Bounded<Duration, 0, DAY>,
    /// The most names in that cache.
    pub resolved_max: Bounded<usize, 1, 10_000_000>,
    /// The most DNS lookups at once. Names that took a second or longer last time share half of these
    /// places, and together with names not looked up before three quarters.
    pub resolving_max: Bounded<usize, 1, 100_000>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: networks::allowed_by_default(),
            deny: networks::denied_by_default(),
            tls: TlsConfig::default(),
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
