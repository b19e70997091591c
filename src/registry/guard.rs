//! The expiry guard of one service: when most of its leases run out at once, the network is the
//! likelier fault, so its instances are marked unhealthy and held instead of removed.
//!
//! Pure: sees beats and a moment, decides.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;

use crate::quantity::{Bounded, DAY, YEAR};

use super::service::View;
use crate::model::{Instance, ServiceId};

/// How often an engaged guard looks at its suspects.
const LOOK_PAUSE_MS: u64 = 1_000;

/// Section `registry.guard`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct GuardConfig {
    /// Whether the guard exists.
    pub enabled: bool,
    /// The share of a service's leases that engages it, above 0 and at most 1.
    pub share: Bounded<f64, 1, 1_000>,
    /// The smallest service that has a guard.
    pub instances_min: Bounded<usize, 0, 100_000_000>,
    /// How close together leases must run out.
    pub window: Bounded<Duration, 0, DAY>,
    /// The longest time instances are held.
    pub hold_max: Bounded<Duration, 0, YEAR>,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            share: 0.5.into(),
            instances_min: 10.into(),
            window: Duration::from_secs(30).into(),
            hold_max: Duration::from_secs(600).into(),
        }
    }
}

impl GuardConfig {
    /// True when so many of the leases of a service run out together that they must be held.
    pub(super) fn engages(&self, service: &View, now_ms: u64) -> Option<Silent> {
        let total = service.instances.len();
        if !self.enabled || total < self.instances_min.get() {
            return None;
        }
        let silent = service
            .instances
            .values()
            .filter(|instance| instance.lease_ends_ms() <= self.horizon_ms(instance, now_ms))
            .map(|instance| instance.id().clone())
            .collect::<Vec<_>>();
        let share = ratio(silent.len(), total);
        (share > self.share.get()).then_some(Silent { ids: silent, total })
    }

    /// Leases that end until then run out in the present window. Half a ttl at most, because the
    /// lease of an instance that beats as it should always ends soon when its ttl is short.
    fn horizon_ms(&self, instance: &Instance, now_ms: u64) -> u64 {
        let window = self.window.get().min(instance.registration.ttl / 2);
        now_ms.saturating_add(millis(window))
    }
}

/// The instances whose leases run out together.
#[derive(Debug)]
pub(super) struct Silent {
    pub(super) ids: Vec<ServiceId>,
    pub(super) total: usize,
}

/// A guard that is engaged.
#[derive(Debug)]
pub(super) struct Guard {
    since_ms: u64,
    /// When it looks at its suspects next.
    look_ms: u64,
    /// Those that were silent when it engaged, or fell silent since.
    suspects: HashMap<ServiceId, Suspect>,
}

/// One instance that fell silent.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// Signs of life after this moment are news of it.
    since_ms: u64,
    /// Whether there was one.
    back: bool,
}

impl Suspect {
    fn silent(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            back: false,
        }
    }
}

/// Why a guard ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Release {
    /// More than half of the silent ones have renewed their leases, or left.
    Renewed {
        /// How many came back.
        back: usize,
        /// Of how many.
        of: usize,
    },
    /// It was engaged for the longest time allowed.
    Overdue,
}

impl Guard {
    pub(super) fn new(now_ms: u64, silent: Vec<ServiceId>) -> Self {
        Self {
            since_ms: now_ms,
            look_ms: now_ms,
            suspects: silent
                .into_iter()
                .map(|id| (id, Suspect::silent(now_ms)))
                .collect(),
        }
    }

    pub(super) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.look_ms <= now_ms
    }

    pub(super) fn looked(&mut self, now_ms: u64) {
        self.look_ms = now_ms + LOOK_PAUSE_MS;
    }

    pub(super) fn suspects(&self) -> impl Iterator<Item = &ServiceId> {
        self.suspects.keys()
    }

    /// Counts an instance whose lease ran out just now among the silent ones, also when it had come
    /// back before.
    pub(super) fn suspect(&mut self, id: &ServiceId, now_ms: u64) {
        self.suspects.insert(id.clone(), Suspect::silent(now_ms));
    }

    /// True when `instance` has given a sign of life since it fell silent; remembered.
    pub(super) fn came_back(&mut self, instance: &Instance) -> bool {
        let renewed_ms = instance.beat.last_renewed_ms();
        let Some(suspect) = self.suspects.get_mut(instance.id()) else {
            return false;
        };
        suspect.back = renewed_ms > suspect.since_ms;
        suspect.back
    }

    pub(super) fn left(&mut self, id: &ServiceId) {
        self.suspects.remove(id);
    }

    pub(super) fn release(&self, config: &GuardConfig, now_ms: u64) -> Option<Release> {
        let of = self.suspects.len();
        let back = self
            .suspects
            .values()
            .filter(|suspect| suspect.back)
            .count();
        if 2 * back > of || of == 0 {
            return Some(Release::Renewed { back, of });
        }
        let overdue = now_ms.saturating_sub(self.since_ms) >= millis(config.hold_max.get());
        overdue.then_some(Release::Overdue)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of instances are far below 2^52"
)]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}
