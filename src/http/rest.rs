//! The REST API: the list of routes and their endpoints, and the fast path past the router.

pub(in crate::http) mod broker;
pub(in crate::http) mod discovery;
mod extract;
pub(in crate::http) mod fast_path;
pub(in crate::http) mod gateway;
mod in_process;
mod migration;
mod operations;
mod overrides;
mod probes;
pub(in crate::http) mod routes;
mod services;
mod transport;
mod webhooks;

pub use self::{broker::Config as BrokerConfig, in_process::InProcessClient};
