//! Services in short, as a page that lists them needs them, and the health of all instances of one.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{health::CheckReport, vocabulary::encode};
use crate::model::{EventKind, Instance, Revision, ServiceId, ServiceName, Status, Timestamp};

/// At most so many different tags, zones and versions of a service are named.
const NAMED_MAX: usize = 32;

/// How many instances have which status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceCounts {
    /// May get traffic.
    pub healthy: u64,
    /// Fail a check, or an operator said so.
    pub unhealthy: u64,
    /// Have a check without a verdict.
    pub starting: u64,
    /// Are drained.
    pub stopping: u64,
    /// Nothing is known.
    pub unknown: u64,
}

impl InstanceCounts {
    /// Counts one more.
    pub fn count(&mut self, status: Status) {
        match status {
            Status::Healthy => self.healthy += 1,
            Status::Unhealthy => self.unhealthy += 1,
            Status::Starting => self.starting += 1,
            Status::Stopping => self.stopping += 1,
            Status::Unknown => self.unknown += 1,
        }
    }
}

/// One service without its instances.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSummary {
    /// Instances by status.
    pub counts: InstanceCounts,
    /// Tags and how many instances have each, at most 32.
    pub tags: BTreeMap<Box<str>, u64>,
    /// Zones, the same.
    pub zones: BTreeMap<Box<str>, u64>,
    /// Versions, the same.
    pub versions: BTreeMap<Box<str>, u64>,
    /// True while its expiry guard is engaged.
    pub guarded: bool,
    /// When it changed last.
    pub changed_at: Option<Timestamp>,
    /// That change; null when the log no longer has it.
    pub event: Option<EventKind>,
    /// The instance of that change.
    #[schema(value_type = Option<String>)]
    pub service_id: Option<ServiceId>,
    /// Its last change.
    pub revision: Revision,
}

impl ServiceSummary {
    /// The counts of these instances. What the log knows of the last change is added by the caller.
    pub fn of<'a>(instances: impl Iterator<Item = &'a Instance>, revision: Revision) -> Self {
        let mut summary = Self {
            counts: InstanceCounts::default(),
            tags: BTreeMap::new(),
            zones: BTreeMap::new(),
            versions: BTreeMap::new(),
            guarded: false,
            changed_at: None,
            event: None,
            service_id: None,
            revision,
        };
        for one in instances {
            summary.counts.count(one.status());
            for tag in &one.registration.tags {
                count(&mut summary.tags, tag);
            }
            if let Some(zone) = &one.registration.zone {
                count(&mut summary.zones, zone);
            }
            count(&mut summary.versions, &one.registration.version);
            summary.changed_at = summary.changed_at.max(Some(one.registered_at));
        }
        summary
    }
}

fn count(of: &mut BTreeMap<Box<str>, u64>, name: &str) {
    if let Some(known) = of.get_mut(name) {
        *known += 1;
    } else if of.len() < NAMED_MAX {
        of.insert(name.into(), 1);
    }
}

/// Services that changed, by name; null for one without instances.
#[derive(Debug, Serialize)]
pub struct SummaryChanges<'a> {
    /// The services.
    pub services: BTreeMap<&'a ServiceName, Option<ServiceSummary>>,
}

impl SummaryChanges<'_> {
    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        encode(self)
    }
}

/// The lease of an instance and the results of its checks.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceHealth {
    /// The instance.
    pub service_id: ServiceId,
    /// Its effective status.
    pub status: Status,
    /// When its lease was renewed last.
    pub last_heartbeat: Timestamp,
    /// Milliseconds until its lease ends; null when that is not a matter of time.
    pub lease_left_ms: Option<u64>,
    /// Its checks.
    pub checks: Vec<CheckReport>,
}

/// The leases and checks of the instances of a service.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceHealth {
    /// The service.
    pub service_name: String,
    /// By id, at most as many as were asked for.
    pub instances: Vec<InstanceHealth>,
    /// How many the service has.
    pub total_count: usize,
    /// When.
    pub timestamp: Timestamp,
}
