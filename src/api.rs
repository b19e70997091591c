//! The JSON contract: what is read leniently from callers and written strictly to them.
//!
//! The only room that knows a field's name; never touches a socket, a clock or the registry.

mod answers;
mod broker_users;
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
mod prometheus;
mod publishing;
mod query;
mod read;
mod registration;
mod requests;
mod route;
mod seen;
mod summary;
mod system;
mod tokens;
mod transport;
mod vocabulary;
mod warnings;
mod watcher;

pub use self::{
    answers::{Alive, Done, RouteRemoved, StatusAnswer, SystemInfo, done, seconds},
    broker_users::{BrokerPermissionDraft, BrokerUserChanged, BrokerUserDraft},
    commands::{
        BatchAnswer, BatchHeartbeat, BatchVerdict, InstanceCommand, OverrideDraft, batch_verdicts,
    },
    discover::{Discover, discovered, flag, limit, wait},
    event::{EventJson, EventsJson, Notice, SnapshotJson, event, events, events_lost, notice},
    gateway::{Endpoint, GatewayAnswer, ResolvedJson, RouteTarget, gateway_config, resolved},
    health::{CheckReport, HealthReport, ProbeResult, ReadyAnswer, ReadyPart},
    instance::{
        DiscoveredJson, InstanceJson, OverrideJson, RegisteredJson, ServicesJson, instance,
        registered,
    },
    limits::Defaults,
    migration::{
        Figure, MigrationAction, MigrationBaseline, MigrationCanary, MigrationCanaryStep,
        MigrationDraft, MigrationGuard, MigrationLatencyBack, MigrationMode, MigrationPhase,
        MigrationRefusal, MigrationReport, MigrationReturn, MigrationRollback, MigrationRule,
        MigrationStep, OwnWord, StoredBaseline, StoredMigration, StoredModes, StoredReturn,
        StoredRollback, StoredRun, soak,
    },
    patch::patch,
    pieces::{SnapshotBody, SnapshotWriter, snapshot},
    probing::{CheckRequest, CheckVerdict},
    problem::{FieldError, Problem},
    prometheus::{TargetGroupJson, TargetQuery, TargetWriter},
    publishing::{PublishAnswer, PublishDraft, PublishHeader},
    query::pairs,
    registration::{Parsed, registration},
    requests::{CheckDraft, PatchRequest, PublishRequest, RegistrationDraft, RouteRequest},
    route::{RouteAnswer, RouteList, route, route_draft},
    seen::Seen,
    summary::{InstanceCounts, InstanceHealth, ServiceHealth, ServiceSummary, SummaryChanges},
    system::{LimitList, LimitUnit, LimitUse, OpenWatcher, OpenWatcherList, Setting, SettingList},
    tokens::{RotateDraft, TicketAnswer, TokenAnswer, TokenCreated, TokenDraft, TokenList, WhoAmI},
    transport::{Comparison, FlagDraft, TransportBroker, TransportChannel, TransportReport},
    vocabulary::encode,
    warnings::Warnings,
    watcher::{StoredWatcher, WatcherAnswer, WatcherDraft, WatcherList},
};
