//! The Consul-compatible API: it parses, asks the catalog as REST does, and answers in Consul's shapes.
//!
//! Keeps no state but caches: indexes of what was shown, and where a check was found.

mod agent;
mod agent_checks;
mod agent_reads;
mod answer;
mod call;
mod catalog;
mod checks;
mod config;
mod definitions;
mod event;
mod fields;
mod filter;
mod health;
mod indexes;
mod kv;
mod kv_reading;
mod monitor;
mod nodes;
mod query;
mod reading;
mod routes;
mod service;
mod session;
mod session_checks;
mod shapes;
mod state;
mod status;
mod txn;

pub use self::{
    config::Config,
    state::{ConsulApp, ConsulControls},
};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
