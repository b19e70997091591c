//! The REST API: the list of routes and their endpoints, and the fast path past the router.

mod admission;
mod broker;
mod discovery;
mod extract;
mod fast_path;
mod gateway;
mod in_process;
mod metrics;
mod migration;
mod operations;
mod overrides;
mod probes;
mod prometheus;
mod routes;
mod service;
mod services;
mod snapshot;
mod system;
mod tokens;
mod transport;
mod webhooks;
mod without_effect;

pub(in crate::http) use self::{
    admission::{recognise, unknown as token_required},
    extract::{BodyBytes, Name, caller},
    metrics::RestMetrics,
    service::RestService,
};
pub use self::{broker::Config as BrokerConfig, in_process::InProcessClient};
