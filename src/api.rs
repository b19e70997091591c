//! The JSON contract: what is read leniently from callers and written strictly to them.
//!
//! The only room that knows a field's name; never touches a socket, a clock or the registry.

mod answers;
mod checks;
mod commands;
mod discover;
mod event;
mod gateway;
mod health;
mod instance;
mod json;
mod limits;
mod migration;
mod patch;
mod pieces;
mod probing;
mod problem;
mod read;
mod registration;
mod route;
pub mod schema;
mod seen;
mod transport;
mod warnings;
mod watcher;

pub use self::{
    answers::{SystemInfo, alive, done, status},
    commands::{BatchHeartbeat, InstanceCommand, OverrideDraft, batch_verdicts},
    discover::{Discover, discovered, flag, limit, pairs, wait},
    event::{Notice, Snapshot, event, events, events_lost, notice, snapshot},
    gateway::{gateway_config, resolved},
    health::{CheckReport, HealthReport, ProbeOutcome, Ready},
    instance::{instance, instances, registered, services},
    json::{Json, text},
    limits::Defaults,
    migration::{
        BaselineReport, CanaryReport, CanaryStepReport, Figure, LatencyBack, MigrationAction,
        MigrationDraft, MigrationMode, MigrationRefusal, MigrationReport, PhaseReport,
        ReturnReport, RollbackReport, RuleReport, StepReport, soak,
    },
    patch::patch,
    pieces::SnapshotWriter,
    probing::{CheckRequest, CheckVerdict},
    problem::{FieldError, Problem},
    registration::{Parsed, registration},
    route::{RouteShape, route},
    seen::Seen,
    transport::{BrokerReport, ChannelReport, Comparison, FlagDraft, TransportReport},
    warnings::Warnings,
    watcher::{WatcherDraft, WatcherShape, watchers},
};
