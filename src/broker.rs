//! An AMQP 0-9-1 server that knows nothing of services.

pub mod auth;
pub mod wire;
