//! The transport over a real broker: `BROKER_UNDER_TEST` says which, embedded by default.

mod answers;
mod commands;
mod disruption;
mod encrypted;
mod events;
mod faults;
mod guard;
mod health;
mod leases;
mod prober;
mod stage;
mod stopping;
mod switch;
