//! The JSON contract: what is read leniently from callers and written strictly to them.
//!
//! The only room that knows a field's name; never touches a socket, a clock or the registry.

mod answers;
mod checks;
mod commands;
mod discover;
mod event;
mod health;
mod instance;
mod json;
mod limits;
mod patch;
mod problem;
mod read;
mod registration;
mod route;
pub mod schema;
mod watcher;

pub use self::{
    answers::{SystemInfo, alive, done, status},
    commands::{BatchHeartbeat, Command, OverrideDraft, batch_verdicts},
    discover::{Discover, Index, discovered, pairs},
    event::{Notice, Snapshot, event, notice, snapshot},
    health::{CheckReport, HealthReport, ProbeOutcome, Ready},
    instance::{instance, instances, registered, services},
    json::{Json, text},
    limits::Defaults,
    patch::Patch,
    problem::{FieldError, Problem},
    registration::{Parsed, registration},
    route::{RouteShape, route},
    watcher::{WatcherDraft, WatcherShape, watchers},
};
