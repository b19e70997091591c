//! The way over a broker: connections, events out, commands in. The only place that names lapin.
//!
//! The embedded broker and RabbitMQ differ by a URL, and by the connection that answers to commands leave by.

mod answers;
mod caller;
mod carrier;
mod checks;
mod commands;
mod consumer;
mod counts;
mod dead;
mod demand;
mod error;
mod gate;
mod link;
mod names;
mod notices;
mod prober;
mod session;
mod tail;
mod target;
mod topics;
mod transit;

pub use self::{
    caller::Caller,
    carrier::{Carrier, CountsOf, check},
    checks::{Checks, ChecksCarrier, Verdicts},
    commands::{Desk, DirectAnswers},
    counts::Counts,
    error::AmqpError,
    link::{Link, Owed, State, Want},
    prober::{Prober, ProberSetup, Probing},
    session::{Connected, Session},
    target::Target,
};
use self::{demand::Demand, tail::Tail, transit::Transit};
