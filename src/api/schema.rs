//! Every type of the OpenAPI document, under the name that it has there.

mod broker;
mod requests;

pub use self::{
    broker::{
        BrokerBinding, BrokerBindings, BrokerChannel, BrokerChannels, BrokerConnection,
        BrokerConnections, BrokerConsumer, BrokerConsumers, BrokerDeleted, BrokerExchange,
        BrokerExchanges, BrokerMessage, BrokerMessages, BrokerOverview, BrokerPurged, BrokerQueue,
        BrokerQueueCounters, BrokerQueues, BrokerRates, BrokerVhost, BrokerVhostCounters,
    },
    requests::{
        BatchRequest as BatchHeartbeat, CheckDraft, MigrationRequest as MigrationDraft,
        OverrideRequest as OverrideDraft, PatchRequest as Patch, RegistrationDraft as Registration,
        RouteRequest as RouteDraft, TransportRequest as TransportDraft,
        WatcherRequest as WatcherDraft,
    },
};
pub use super::{
    answers::{Alive, DoneJson as Done, SystemInfo},
    event::{EventJson as Event, EventsJson as Events, SnapshotJson as Snapshot},
    gateway::ResolvedJson as Resolved,
    health::{HealthReport, ReadyAnswer as Readiness},
    instance::{
        DiscoveredJson as Discovered, InstanceJson as Instance, RegisteredJson as Registered,
        ServicesJson as Services,
    },
    migration::MigrationReport as Migration,
    route::{RouteAnswer as Route, RouteList as Routes},
    transport::TransportReport as Transport,
    watcher::{WatcherAnswer as Watcher, WatcherList as Watchers},
};

/// The answer to many heartbeats.
pub type BatchVerdicts = super::commands::BatchAnswer<'static>;
/// Every route with its healthy instances.
pub type GatewayConfig = super::gateway::GatewayAnswer<'static>;
/// An error.
pub type Problem = super::problem::ProblemAnswer<'static>;
/// What was done to a route.
pub type RouteRemoved = super::answers::RouteRemoved<'static>;
/// The status of an instance.
pub type StatusAnswer = super::answers::StatusAnswer<'static>;
