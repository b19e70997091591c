//! The transport over a real broker: `BROKER_UNDER_TEST` says which, embedded by default.

mod commands;
mod disruption;
mod events;
mod faults;
mod guard;
mod health;
mod leases;
mod stage;
mod stopping;
mod switch;
