//! One running copy of a service: what it said of itself, and what is known of it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Check, Metadata, OverrideStatus, Revision, ServiceId, ServiceName, Status, Timestamp};

/// What a caller says of an instance.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its identity.
    pub service_id: ServiceId,
    /// The service it belongs to.
    pub service_name: ServiceName,
    /// Where it listens: a name or an address.
    pub host: Box<str>,
    /// Where it listens, 1-65535.
    pub port: u16,
    /// Free-form data.
    pub metadata: Metadata,
    /// An HTTP check in short form: an absolute URL.
    pub health_check_url: Option<Box<str>>,
    /// Labels to filter by.
    pub tags: Box<[Box<str>]>,
    /// Its version.
    pub version: Box<str>,
    /// The lease: without a heartbeat or a passing check for so long it is removed.
    pub ttl: Duration,
    /// What the lease hangs on.
    pub lease: LeaseKind,
    /// Its share of the traffic; 0 gets none from weighted picks.
    pub weight: u16,
    /// Where it runs.
    pub zone: Option<Box<str>>,
    /// Its checks in full form; `health_check_url` is not among them.
    pub checks: Box<[Check]>,
}

impl Registration {
    /// True when nothing differs, the order of metadata's keys aside.
    pub fn same_as(&self, other: &Self) -> bool {
        self.service_id == other.service_id
            && self.service_name == other.service_name
            && self.host == other.host
            && self.port == other.port
            && self.metadata.same_as(&other.metadata)
            && self.health_check_url == other.health_check_url
            && self.tags == other.tags
            && self.version == other.version
            && self.ttl == other.ttl
            && self.lease == other.lease
            && self.weight == other.weight
            && self.zone == other.zone
            && self.checks == other.checks
    }

    /// True when at least one check decides its health.
    pub fn is_checked(&self) -> bool {
        self.health_check_url.is_some() || !self.checks.is_empty()
    }

    /// The bytes of its texts: what it costs to keep or to encode, roughly.
    pub fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 3).sum();
        self.service_id.as_str().len()
            + self.service_name.as_str().len()
            + self.host.len()
            + self.metadata.as_str().len()
            + self.health_check_url.as_ref().map_or(0, |url| url.len())
            + self.version.len()
            + self.zone.as_ref().map_or(0, |zone| zone.len())
            + tags
            + self.checks.len() * 200
    }
}

/// An operator's word, which wins over what is observed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Override {
    /// What it stands for.
    pub status: OverrideStatus,
    /// Why.
    pub reason: Option<Box<str>>,
    /// Since when.
    pub since: Timestamp,
}

/// Times of the last sign of life and of the lease's timer, in milliseconds of the registry's
/// monotonic clock. Shared by all versions of one instance, so that a beat is one store.
#[derive(Debug)]
pub struct Beat {
    /// The last heartbeat, registration or passing check.
    at_ms: AtomicU64,
    /// The last heartbeat or registration alone: what a TTL check looks at.
    heard_ms: AtomicU64,
}

impl Beat {
    /// A sign of life at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            at_ms: AtomicU64::new(now_ms),
            heard_ms: AtomicU64::new(now_ms),
        }
    }

    /// Records a heartbeat.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Records a passing check.
    pub fn passed(&self, now_ms: u64) {
        self.at_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When the last heartbeat or registration came.
    pub fn last_heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    /// When the lease was last renewed, by whatever means.
    pub fn last_renewed_ms(&self) -> u64 {
        self.last_heard_ms().max(self.at_ms.load(Ordering::Relaxed))
    }
}

/// What a lease hangs on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LeaseKind {
    /// Signs of life within the ttl.
    #[default]
    Ttl,
    /// An open connection to the embedded broker; the ttl begins when it closes.
    Connection,
}

impl LeaseKind {
    /// The contract's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Connection => "connection",
        }
    }
}

/// What keeps an instance registered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lease {
    /// Signs of life within its ttl.
    Running,
    /// It ran out, and the expiry guard holds the instance.
    Held,
    /// The connection of this number, for as long as it is open.
    Bound(u64),
    /// Its connection closed: the rest of its ttl.
    Lost,
}

/// One version of an instance. Never changed, only replaced.
#[derive(Debug)]
pub struct Instance {
    /// What it said of itself.
    pub registration: Arc<Registration>,
    /// What its checks say.
    pub observed: Status,
    /// What an operator says.
    pub overridden: Option<Arc<Override>>,
    /// Whether its lease is alive.
    pub lease: Lease,
    /// When it first registered.
    pub registered_at: Timestamp,
    /// The change that made this version.
    pub revision: Revision,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// Its signs of life.
    pub beat: Arc<Beat>,
    /// Its JSON up to the value of `last_heartbeat`; filled by whoever encodes it first.
    pub encoded: OnceLock<Box<[u8]>>,
}

impl Instance {
    /// Its identity.
    pub fn id(&self) -> &ServiceId {
        &self.registration.service_id
    }

    /// The service it belongs to.
    pub fn name(&self) -> &ServiceName {
        &self.registration.service_name
    }

    /// The effective status: an operator's word, then the guard's or its connection's, then the checks'.
    pub fn status(&self) -> Status {
        match (&self.overridden, self.lease) {
            (Some(overridden), _) => overridden.status.into(),
            (None, Lease::Held | Lease::Lost) => Status::Unhealthy,
            (None, Lease::Running | Lease::Bound(_)) => self.observed,
        }
    }

    /// True when it may get traffic.
    pub fn is_healthy(&self) -> bool {
        self.status() == Status::Healthy
    }

    /// When its lease runs out, in milliseconds of the registry's monotonic clock; never while its
    /// connection is open.
    pub fn lease_ends_ms(&self) -> u64 {
        if matches!(self.lease, Lease::Bound(_)) {
            return u64::MAX;
        }
        let ttl = u64::try_from(self.registration.ttl.as_millis()).unwrap_or(u64::MAX);
        self.beat.last_renewed_ms().saturating_add(ttl)
    }
}
