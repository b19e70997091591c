//! An AMQP 0-9-1 server that knows nothing of services.

pub mod arguments;
pub mod auth;
pub mod budget;
pub mod channel;
pub mod config;
pub mod definitions;
pub mod durable;
pub mod exception;
pub mod exchange;
pub mod listing;
pub mod local;
pub mod memory;
pub mod message;
pub mod message_log;
pub mod outbox;
pub mod pages;
pub mod peer;
pub mod pieces;
pub mod policy;
pub mod queue;
pub mod server;
pub mod session;
pub mod slab;
pub mod tls;
pub mod unacked;
pub mod vhost;
pub mod wire;

pub use self::{
    config::Config,
    server::{Broker, BrokerError, DurableStore, FrozenMessages, Listening},
};
