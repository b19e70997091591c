//! The expiry guard of one service: when most of its leases run out at once, the network is the likelier
//! fault. So its instances are marked unhealthy and held instead of removed.
//!
//! Pure: it decides from the last renewals and a moment.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;

use crate::quantity::{Bounded, DAY, YEAR};

use super::service::View;
use crate::model::{Instance, ServiceId};

/// How often an engaged guard checks its suspects.
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
    /// The instances of a service whose leases run out together, when there are so many that they must be
    /// held. Reads a snapshot of the service; `ends_ms` says when a lease runs out.
    pub(super) fn engages(
        &self,
        service: &View,
        now_ms: u64,
        ends_ms: impl Fn(&Instance) -> u64,
    ) -> Option<Silent> {
        let total = service.instances.len();
        if !self.enabled || total < self.instances_min.get() {
            return None;
        }
        let runs_out = |one: &&Arc<Instance>| ends_ms(one) <= self.horizon_ms(one, now_ms);
        let n_silent = service.instances.values().filter(runs_out).count();
        if ratio(n_silent, total) <= self.share.get() {
            return None;
        }
        let silent = service.instances.values().filter(runs_out);
        Some(Silent {
            ids: silent.map(|one| one.id().clone()).collect(),
            total,
        })
    }

    /// Leases that end until then run out in the present window. Half a ttl at most, because the
    /// lease of an instance that sends heartbeats as it should always ends soon when its ttl is short.
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

/// The suspects of an engaged guard.
#[derive(Debug)]
pub(super) struct Guard {
    since_ms: u64,
    /// When it checks them next.
    look_ms: u64,
    /// The instances without renewals when it engaged, and those that stopped renewing since.
    suspects: BTreeMap<ServiceId, Suspect>,
    /// How many of them are back.
    back: usize,
    /// The last suspect looked at, while a look is under way.
    looked: Option<ServiceId>,
}

/// One instance that stopped renewing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Renewals after this moment are new ones.
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

    /// True when `instance` has renewed its lease since it became a suspect.
    pub(super) fn is_back(self, instance: &Instance) -> bool {
        instance.last_seen.last_renewed_ms() > self.since_ms
    }
}

/// Why a guard ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Release {
    /// More than half of the suspects have renewed their leases, or were removed.
    Renewed {
        /// How many recovered.
        back: usize,
        /// Of how many.
        of: usize,
    },
    /// It was engaged for the longest time allowed.
    Overdue {
        /// For how long.
        held_s: u64,
    },
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renewed { back, of } => write!(f, "{back} of {of} held instances recovered"),
            Self::Overdue { held_s } => {
                write!(f, "held for {held_s} s, the longest time allowed")
            }
        }
    }
}

impl Guard {
    pub(super) fn new(now_ms: u64, silent: impl IntoIterator<Item = ServiceId>) -> Self {
        let silent = silent.into_iter();
        Self {
            since_ms: now_ms,
            look_ms: now_ms,
            suspects: silent.map(|id| (id, Suspect::silent(now_ms))).collect(),
            back: 0,
            looked: None,
        }
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.look_ms <= now_ms
    }

    /// The next suspects to look at, at most `max`; none when all were looked at.
    pub(super) fn next(&self, max: usize) -> Vec<ServiceId> {
        let from = self.looked.as_ref().map_or(Unbounded, Excluded);
        let next = self.suspects.range::<ServiceId, _>((from, Unbounded));
        next.take(max).map(|(id, _)| id.clone()).collect()
    }

    /// Notes what a suspect is now; none when it left. True when it is back.
    pub(super) fn look(&mut self, id: &ServiceId, instance: Option<&Instance>) -> bool {
        self.looked = Some(id.clone());
        let Some(suspect) = self.suspects.get_mut(id) else {
            return false;
        };
        self.back -= usize::from(suspect.back);
        let Some(instance) = instance else {
            self.suspects.remove(id);
            return false;
        };
        suspect.back = suspect.is_back(instance);
        self.back += usize::from(suspect.back);
        suspect.back
    }

    /// All suspects were looked at: whether the guard ends now.
    pub(super) fn looked(&mut self, config: &GuardConfig, now_ms: u64) -> Option<Release> {
        self.looked = None;
        self.look_ms = now_ms + LOOK_PAUSE_MS;
        let of = self.suspects.len();
        let back = self.back;
        if 2 * back > of || of == 0 {
            return Some(Release::Renewed { back, of });
        }
        let held_ms = now_ms.saturating_sub(self.since_ms);
        (held_ms >= millis(config.hold_max.get())).then_some(Release::Overdue {
            held_s: held_ms / 1000,
        })
    }

    /// Counts an instance whose lease ran out just now among the silent ones, also when it had come
    /// back before.
    pub(super) fn suspect(&mut self, id: &ServiceId, now_ms: u64) {
        let old = self.suspects.insert(id.clone(), Suspect::silent(now_ms));
        self.back -= usize::from(old.is_some_and(|old| old.back));
    }

    /// Those that are not back, when the guard ends.
    pub(super) fn into_suspects(self) -> impl Iterator<Item = (ServiceId, Suspect)> {
        self.suspects.into_iter()
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
