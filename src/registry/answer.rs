//! Answers of the registry: the result of a registration, and sizes.

use std::sync::Arc;

use crate::model::Instance;

/// The result of a registration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The id is new.
    New,
    /// The id says something else now.
    Updated,
    /// Nothing but the lease.
    Renewed,
}

/// An instance after its registration.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The kind of change that a registration made.
    pub change: Change,
}

/// Sizes for reports and metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Instances.
    pub instances: usize,
    /// Instances whose effective status is healthy.
    pub healthy: usize,
    /// Services with at least one instance.
    pub services: usize,
    /// Services in memory, those without instances included that are watched or in the log.
    pub services_known: usize,
    /// Routes.
    pub routes: usize,
    /// Events in the log.
    pub log_entries: usize,
    /// Bytes in the log.
    pub log_bytes: usize,
    /// Timers.
    pub leases: usize,
    /// Instances whose leases are on an open connection.
    pub connection_leases: usize,
    /// The memory of instances, routes and encoded answers, in bytes.
    pub memory: usize,
    /// Engaged guards.
    pub guards: usize,
}
