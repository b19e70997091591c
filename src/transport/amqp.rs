//! The way over a broker: one connection, events out, commands in. The only place that names lapin.
//!
//! The embedded broker and RabbitMQ differ by a URL and by nothing else here.

mod error;
mod link;
mod names;
mod session;
mod target;

pub use self::{
    error::AmqpError,
    link::{Link, Owed, State, Want},
    session::{Connected, Session},
    target::Target,
};
