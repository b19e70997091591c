//! The door for REST: a server that no client can wear down, and the routes behind it.
//!
//! Decides nothing about services: it asks the registry and the ports, and answers what they say.

mod answer;
mod asker;
mod broker;
mod config;
mod connection;
mod cors;
mod discovery;
mod extract;
mod front;
mod gateway;
mod measure;
mod migration;
mod operations;
mod overrides;
mod pace;
mod paced;
mod probes;
mod quick;
mod routes;
mod server;
mod services;
mod state;
#[cfg(test)]
mod testing;
mod transport;
mod watch;
mod webhooks;

pub use self::{
    asker::Asker,
    broker::Config as BrokerConfig,
    config::Config,
    cors::{Cors, CorsError},
    server::{BindError, Bound, bind},
    state::{Door, Rooms},
    watch::Config as WatchConfig,
};
