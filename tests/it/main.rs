//! One integration binary: fast to link, easy to share a harness.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has failed"
)]

mod amqp;
mod architecture;
mod broker_pages;
mod cli;
mod command;
mod consul;
mod consul_kv;
mod containers;
mod daemon;
mod dashboard;
mod definitions;
mod dns;
mod docs;
mod eureka;
mod examples;
mod http;
mod management;
mod migration;
mod packages;
mod page;
mod prometheus;
mod rabbitmq;
mod run;
mod scripts;
mod security;
mod store;
mod tls;
mod transport;
