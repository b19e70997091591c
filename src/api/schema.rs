//! The shapes of bodies, for the OpenAPI document. That they are what is really written is checked
//! by reading real answers into them.

mod broker;
mod daemon;
mod events;
mod instances;
mod migration;
mod transport;
mod watching;

pub use self::{
    broker::{
        BrokerBinding, BrokerBindings, BrokerChannel, BrokerChannels, BrokerConnection,
        BrokerConnections, BrokerConsumer, BrokerConsumers, BrokerDeleted, BrokerExchange,
        BrokerExchanges, BrokerMessage, BrokerMessages, BrokerOverview, BrokerPurged, BrokerQueue,
        BrokerQueueCounters, BrokerQueues, BrokerRates, BrokerVhost, BrokerVhostCounters,
    },
    daemon::{
        Alive, CheckReport, FieldError, HealthReport, ProbeOutcome, Problem, Readiness, ReadyPart,
        SystemInfo,
    },
    events::{Event, Route, RouteDraft, Snapshot, Watcher, WatcherDraft, Watchers},
    instances::{
        BatchHeartbeat, BatchVerdict, BatchVerdicts, Check, Discovered, Done, Instance, Override,
        OverrideDraft, Patch, Registered, Registration, Services, StatusAnswer,
    },
    migration::{
        Migration, MigrationBaseline, MigrationCanary, MigrationCanaryStep, MigrationChannels,
        MigrationDraft, MigrationGuard, MigrationLatencyBack, MigrationPhase, MigrationReturn,
        MigrationRollback, MigrationRule, MigrationStep,
    },
    transport::{Transport, TransportBroker, TransportChannel, TransportDraft},
    watching::{Endpoint, Events, GatewayConfig, Resolved, RouteRemoved, Routes, Target},
};
