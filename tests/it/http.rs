//! REST over a real port: what only sockets can show.

mod abuse;
mod journey;
mod server;
mod stopping;
