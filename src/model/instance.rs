//! One running copy of a service: how it describes itself, and what is known of it.

use std::{
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;

use super::{
    Check, Metadata, OverrideStatus, Revision, ServiceId, ServiceName, ShownChecks, Status,
    Timestamp,
};
use crate::quantity::{self, Bounded, YEAR};

/// An instance as its caller describes it.
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
    /// The lease: without a heartbeat or a passing check for this long the instance is removed.
    pub ttl: Duration,
    /// The means by which the lease is renewed.
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

    /// The bytes of its JSON, roughly.
    pub fn size(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 3).sum();
        let checks: usize = self.checks.iter().map(Check::size).sum();
        JSON_BYTES
            + self.service_id.as_str().len()
            + self.service_name.as_str().len()
            + self.host.len()
            + self.metadata.as_str().len()
            + self.health_check_url.as_ref().map_or(0, |url| url.len())
            + self.version.len()
            + self.zone.as_ref().map_or(0, |zone| zone.len())
            + tags
            + checks
    }

    /// The bytes that its fields allocate, besides itself.
    pub fn memory(&self) -> usize {
        let tags: usize = self.tags.iter().map(|tag| allocated(tag.len())).sum();
        let checks: usize = self.checks.iter().map(Check::memory).sum();
        allocated(self.service_id.as_str().len() + ARC_BYTES)
            + allocated(self.service_name.as_str().len() + ARC_BYTES)
            + allocated(self.host.len())
            + allocated(self.metadata.as_str().len())
            + allocated(self.health_check_url.as_ref().map_or(0, |url| url.len()))
            + allocated(self.version.len())
            + allocated(self.zone.as_ref().map_or(0, |zone| zone.len()))
            + allocated(size_of_val(&*self.tags))
            + allocated(size_of_val(&*self.checks))
            + tags
            + checks
    }
}

/// The names of the fields in the JSON of an instance, and its times and numbers.
const JSON_BYTES: usize = 420;
/// The counts of an `Arc`.
const ARC_BYTES: usize = 16;
/// The bytes of an instance besides its texts: three allocations, its share of a service, and its entries in
/// the maps of ids, of its service and of timers. Measured.
const FIXED_BYTES: usize = 900;

/// The bytes that an allocator gives for `bytes`.
pub(super) fn allocated(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// An operator's override, which replaces the observed status.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Override {
    /// The status to show.
    pub status: OverrideStatus,
    /// Why.
    pub reason: Option<Box<str>>,
    /// Since when.
    pub since: Timestamp,
}

/// What changes without a new version: the times of the last heartbeat and the last renewal, in milliseconds of the
/// registry's monotonic clock, and what the checks say one by one. All versions of an instance share it, so that a
/// heartbeat is one store.
#[derive(Debug)]
pub struct LastSeen {
    /// The last passing check, or the end of a connection.
    renewed_ms: AtomicU64,
    /// The last heartbeat or registration: a TTL check is judged by it.
    heartbeat_ms: AtomicU64,
    checks: ArcSwapOption<ShownChecks>,
    /// The registry's stamp of its last change that is shown.
    stamp: AtomicU64,
}

impl LastSeen {
    /// A registration at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            renewed_ms: AtomicU64::new(now_ms),
            heartbeat_ms: AtomicU64::new(now_ms),
            checks: ArcSwapOption::empty(),
            stamp: AtomicU64::new(0),
        }
    }

    /// Records a heartbeat or a registration.
    pub fn record_heartbeat(&self, now_ms: u64) {
        self.heartbeat_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Records a passing check.
    pub fn record_pass(&self, now_ms: u64) {
        self.renewed_ms.store(now_ms, Ordering::Relaxed);
    }

    /// What the checks say; none before they have said anything.
    pub fn checks(&self) -> Option<Arc<ShownChecks>> {
        self.checks.load_full()
    }

    /// Replaces what the checks say.
    pub fn show_checks(&self, checks: ShownChecks) {
        self.checks.store(Some(Arc::new(checks)));
    }

    /// The registry's stamp of its last change; 0 when it has not changed since the start.
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Relaxed)
    }

    /// Records the registry's stamp of a change.
    pub fn set_stamp(&self, stamp: u64) {
        self.stamp.store(stamp, Ordering::Relaxed);
    }

    /// When the last heartbeat or registration came.
    pub fn last_heartbeat_ms(&self) -> u64 {
        self.heartbeat_ms.load(Ordering::Relaxed)
    }

    /// When the lease was last renewed, by whatever means.
    pub fn last_renewed_ms(&self) -> u64 {
        self.last_heartbeat_ms()
            .max(self.renewed_ms.load(Ordering::Relaxed))
    }
}

/// The means by which a lease is renewed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LeaseKind {
    /// It must be renewed within the ttl.
    #[default]
    Ttl,
    /// An open connection to the embedded broker; the ttl begins when it closes.
    Connection,
    /// Nothing: the instance stays until it is deregistered.
    Unlimited,
}

impl LeaseKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ttl, Self::Connection, Self::Unlimited];

    /// The contract's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Connection => "connection",
            Self::Unlimited => "none",
        }
    }

    /// The kind that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The state of an instance's lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lease {
    /// It must be renewed within the ttl.
    Running,
    /// It ran out, and the expiry guard holds the instance.
    Held,
    /// It lasts as long as the connection of this number is open.
    Connection(u64),
    /// Its connection closed: the ttl runs from then.
    Lost,
    /// It has no end.
    Unlimited,
}

/// When an instance is removed whose checks fail.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RemoveAfter {
    /// When its ttl has run out, like any other instance.
    #[default]
    Ttl,
    /// At the earliest so long after the last renewal.
    After(Bounded<Duration, 0, YEAR>),
    /// Never: it must be deregistered.
    Never,
}

impl FromStr for RemoveAfter {
    type Err = InvalidRemoveAfter;

    fn from_str(text: &str) -> Result<Self, InvalidRemoveAfter> {
        match text.trim() {
            "ttl" => Ok(Self::Ttl),
            "never" => Ok(Self::Never),
            time => {
                let time = quantity::duration(time);
                let time = time.map_err(|_| InvalidRemoveAfter::Unknown(text.into()))?;
                let time = Bounded::checked(time).map_err(InvalidRemoveAfter::Outside)?;
                Ok(Self::After(time))
            }
        }
    }
}

/// The text says nothing of when to remove an instance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidRemoveAfter {
    /// No duration and no word that is known.
    #[error("\"{0}\" is none of \"ttl\", \"never\" and a duration such as \"1h\"")]
    Unknown(Box<str>),
    /// A duration outside of the bounds, which are named.
    #[error("{0}")]
    Outside(String),
}

/// One version of an instance. Never changed, only replaced.
#[derive(Debug)]
pub struct Instance {
    /// The instance as its caller describes it.
    pub registration: Arc<Registration>,
    /// The status that its checks give it.
    pub observed: Status,
    /// An operator's override.
    pub overridden: Option<Arc<Override>>,
    /// The state of its lease.
    pub lease: Lease,
    /// When it first registered.
    pub registered_at: Timestamp,
    /// The change that made this version.
    pub revision: Revision,
    /// Which registration of this id it is.
    pub incarnation: u64,
    /// Why its last change happened, where there is more to say than the event does.
    pub reason: Option<Arc<str>>,
    /// The identity that registered it, if there was one.
    pub owner: Option<Arc<str>>,
    /// Its last heartbeat and renewal.
    pub last_seen: Arc<LastSeen>,
    /// The memory of its registration, see [`Self::memory`].
    pub bytes: usize,
    /// Its JSON up to the value of `last_heartbeat`; filled by the first encoder.
    pub encoded: OnceLock<Box<[u8]>>,
}

impl Instance {
    /// The bytes that an instance with this registration takes, its place in the tables and its encoded form
    /// included.
    pub fn memory(registration: &Registration) -> usize {
        FIXED_BYTES + registration.memory() + registration.size()
    }

    /// The same instance as a value to build its next version from.
    #[must_use]
    pub fn version(&self) -> Self {
        Self {
            registration: Arc::clone(&self.registration),
            observed: self.observed,
            overridden: self.overridden.clone(),
            lease: self.lease,
            registered_at: self.registered_at,
            revision: self.revision,
            incarnation: self.incarnation,
            reason: self.reason.clone(),
            owner: self.owner.clone(),
            last_seen: Arc::clone(&self.last_seen),
            bytes: self.bytes,
            encoded: OnceLock::new(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> &ServiceId {
        &self.registration.service_id
    }

    /// The service it belongs to.
    pub fn name(&self) -> &ServiceName {
        &self.registration.service_name
    }

    /// The effective status: an operator's override, then that of a held or lost lease, then the checks'.
    pub fn status(&self) -> Status {
        match (&self.overridden, self.lease) {
            (Some(overridden), _) => overridden.status.into(),
            (None, Lease::Held | Lease::Lost) => Status::Unhealthy,
            (None, Lease::Running | Lease::Connection(_) | Lease::Unlimited) => self.observed,
        }
    }

    /// True when it may get traffic.
    pub fn is_healthy(&self) -> bool {
        self.status() == Status::Healthy
    }

    /// When its lease runs out, in milliseconds of the registry's monotonic clock; never while its
    /// connection is open or when it has no end.
    pub fn lease_ends_ms(&self) -> u64 {
        if matches!(self.lease, Lease::Connection(_) | Lease::Unlimited) {
            return u64::MAX;
        }
        let ttl = u64::try_from(self.registration.ttl.as_millis()).unwrap_or(u64::MAX);
        self.last_seen.last_renewed_ms().saturating_add(ttl)
    }
}
