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
mod query;
mod read;
mod registration;
mod route;
pub mod schema;
mod seen;
mod transport;
mod vocabulary;
mod warnings;
mod watcher;

pub use self::{
    answers::{Alive, DoneJson, RouteRemoved, StatusAnswer, SystemInfo, done, seconds},
    commands::{
        BatchAnswer, BatchHeartbeat, BatchVerdict, InstanceCommand, OverrideDraft, batch_verdicts,
    },
    discover::{Discover, discovered, flag, limit, wait},
    event::{
        EventJson, EventsJson, Notice, SnapshotBody, SnapshotJson, event, events, events_lost,
        notice, snapshot,
    },
    gateway::{Endpoint, GatewayAnswer, ResolvedJson, RouteTarget, gateway_config, resolved},
    health::{CheckReport, HealthReport, ProbeResult, ReadyAnswer, ReadyPart},
    instance::{
        DiscoveredJson, InstanceJson, OverrideJson, RegisteredJson, ServicesJson, instance,
        instances, registered, services,
    },
    json::{Json, text},
    limits::Defaults,
    migration::{
        BaselineReport, CanaryReport, CanaryStepReport, Figure, GuardReport, LatencyBack,
        MigrationAction, MigrationDraft, MigrationMode, MigrationRefusal, MigrationReport,
        PhaseReport, ReturnReport, RollbackReport, RuleReport, StepReport, soak,
    },
    patch::patch,
    pieces::SnapshotWriter,
    probing::{CheckRequest, CheckVerdict},
    problem::{FieldError, Problem, ProblemAnswer},
    query::{Query, pairs},
    registration::{Parsed, registration},
    route::{RouteAnswer, RouteList, RouteShape, route},
    seen::Seen,
    transport::{BrokerReport, ChannelReport, Comparison, FlagDraft, TransportReport},
    vocabulary::encode,
    warnings::Warnings,
    watcher::{WatcherAnswer, WatcherDraft, WatcherList},
};
