//! One integration binary.
#![expect(clippy::unwrap_used, reason = "a test that meets what it did not expect has failed")]

mod amqp;
mod rabbitmq;
