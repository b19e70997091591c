//! The migration from direct calls to the broker: phases, the guard that rolls back, the report.
//!
//! `state` decides without a clock or a socket; `run` looks, acts and waits. Sends no messages: it changes
//! the flag, and judges by what other rooms measure.

mod baseline;
mod canary;
mod config;
mod guard;
mod meters;
mod needs;
mod phase;
mod plan;
mod rollback;
mod run;
mod state;
mod window;

pub use self::{
    config::{Config, GuardSetting, ReturnSetting},
    needs::{CanaryWatch, CanaryWay, FlagControl, MigrationRow, Needs, NoRow, StepError},
    phase::Phase,
    plan::Plan,
    run::{Migration, TABLE},
};
