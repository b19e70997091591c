//! The transport over a broker: the connection, events out, commands in, health checks out and verdicts in.
//!
//! It is written once against the interface in `broker`, which `transport::embedded` and `transport::rabbitmq`
//! implement. Nothing here depends on which of the two it is.

pub mod broker;
mod broker_transport;
mod caller;
mod checks;
mod commands;
mod connected;
mod consumer;
mod counts;
mod cursors;
mod dead;
mod error;
mod event_consumer;
mod in_flight;
mod link;
mod loopback_demand;
pub(crate) mod names;
mod notices;
mod prober;
mod publish_gate;
mod topics;

pub(super) use self::cursors::{CURSORS, StoredCursors};
pub use self::{
    broker::AnswerScope,
    broker_transport::{BrokerTransport, CountsOf},
    caller::AmqpCaller,
    checks::{Checks, ChecksCarrier, Verdicts},
    commands::{CommandContext, DirectAnswers},
    connected::{Connected, Usage},
    counts::ComparisonCounts,
    dead::DeadLetters,
    error::AmqpError,
    link::{Link, LinkState, Want},
    prober::{Prober, ProberSetup, Probing},
};
use self::{
    event_consumer::EventConsumer, in_flight::InFlight, link::UnconfirmedSince,
    loopback_demand::LoopbackDemand,
};
