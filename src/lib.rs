//! musterd: a service registry with a message broker inside it.

pub mod broker;
