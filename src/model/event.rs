//! Changes of the registry as watchers receive them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{Epoch, Instance, Revision, Route, ServiceId, ServiceName, Status, Timestamp};

/// The kind of the event.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// An instance is new.
    Registered,
    /// An instance says something else of itself.
    Updated,
    /// An instance left.
    Deregistered,
    /// An instance's lease ran out.
    Expired,
    /// An instance's effective status became healthy.
    Healthy,
    /// An instance's effective status became unhealthy.
    Unhealthy,
    /// An instance's effective status became stopping.
    Stopping,
    /// Too many leases of one service ran out at once: they are held.
    GuardEngaged,
    /// The guard of one service ended.
    GuardReleased,
    /// A gateway route was made or changed.
    RouteSet,
    /// A gateway route was removed.
    RouteRemoved,
}

impl EventKind {
    /// The kind of event for a new effective status; a status without its own kind is an update.
    pub fn of(status: Status) -> Self {
        match status {
            Status::Healthy => Self::Healthy,
            Status::Unhealthy => Self::Unhealthy,
            Status::Stopping => Self::Stopping,
            Status::Starting | Status::Unknown => Self::Updated,
        }
    }

    /// Every kind that takes a revision.
    pub const ALL: [Self; 11] = [
        Self::Registered,
        Self::Updated,
        Self::Deregistered,
        Self::Expired,
        Self::Healthy,
        Self::Unhealthy,
        Self::Stopping,
        Self::GuardEngaged,
        Self::GuardReleased,
        Self::RouteSet,
        Self::RouteRemoved,
    ];

    /// The contract's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::GuardEngaged => "guard_engaged",
            Self::GuardReleased => "guard_released",
            Self::RouteSet => "route_set",
            Self::RouteRemoved => "route_removed",
        }
    }

    /// The kind that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The bytes of an event in the log besides its texts.
const FIXED_BYTES: usize = 300;

/// One numbered change.
#[derive(Debug)]
pub struct Event {
    /// The epoch of the revisions.
    pub epoch: Epoch,
    /// Its place in the order of all changes.
    pub revision: Revision,
    /// The kind of the event.
    pub kind: EventKind,
    /// The instance it happened to; none for guard and route events.
    pub service_id: Option<ServiceId>,
    /// The service it concerns; none for route events.
    pub service_name: Option<ServiceName>,
    /// The effective status after it; none for an instance that left.
    pub status: Option<Status>,
    /// The effective status before it, where there was one.
    pub previous_status: Option<Status>,
    /// Why, where there is more to say than the kind does.
    pub reason: Option<Arc<str>>,
    /// When, by the wall clock.
    pub timestamp: Timestamp,
    /// The instance as it is after the change, or was before it left.
    pub instance: Option<Arc<Instance>>,
    /// The route as it is after the change, or was before it was removed.
    pub route: Option<Arc<Route>>,
    /// Its JSON; filled by the first encoder, the same bytes for every receiver.
    pub encoded: OnceLock<Bytes>,
}

impl Event {
    /// The bytes that it keeps in the log: the instance or route and the encoded forms of both. The event may
    /// be the last owner of their registration.
    pub fn size(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, |instance| {
            instance.registration.memory() + 2 * instance.registration.size()
        });
        let route = self.route.as_ref().map_or(0, |route| route.size());
        let reason = self.reason.as_ref().map_or(0, |reason| reason.len());
        FIXED_BYTES + reason + instance + 3 * route
    }
}
