//! musterd: a service registry with a message broker inside it.

// In reading order: the vocabulary first, the wiring last.
pub mod model;

pub mod registry;

pub mod health;

pub mod broker;

pub mod outbound;

pub mod tasks;
pub mod telemetry;
