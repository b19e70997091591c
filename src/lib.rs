//! musterd: a service registry with a message broker inside it.

// In reading order: the vocabulary first, the wiring last.
pub mod model;

pub mod registry;

pub mod api;
pub mod commands;
pub mod ports;

pub mod health;
pub mod outbound;
pub mod transport;

pub mod migration;

pub mod http;

pub mod broker;

pub mod tasks;
pub mod telemetry;

pub mod config;

pub mod app;

pub mod cli;
