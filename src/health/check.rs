//! A check as the scheduler uses it: a reference to its definition, with the limits of the configuration.

use std::{borrow::Cow, time::Duration};

use super::{Config, verdict::VerdictRules};
use crate::model::{Check, CheckKind, HttpCheck, Registration, Standing};

/// The name of the check that `health_check_url` defines.
const URL_CHECK: &str = "health_check_url";

/// Where a registration defines a check. Avoids a copy of the definition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CheckSource {
    /// `health_check_url`, with the configured defaults.
    Url,
    /// The index in `checks`.
    Listed(usize),
}

/// The kind of a probe.
#[derive(Clone, Copy, Debug)]
pub(super) enum ProbeKind<'a> {
    /// GET; any 2xx passes.
    Url(&'a str),
    Listed(&'a Check),
}

impl CheckSource {
    /// The checks of a registration.
    pub(super) fn all(of: &Registration) -> impl Iterator<Item = Self> + use<'_> {
        let url = of.health_check_url.iter().map(|_| Self::Url);
        url.chain((0..of.checks.len()).map(Self::Listed))
    }

    fn listed(self, of: &Registration) -> Option<&Check> {
        match self {
            Self::Url => None,
            Self::Listed(at) => of.checks.get(at),
        }
    }

    /// True when both define the same.
    pub(super) fn is_same(self, of: &Registration, other: Self, of_other: &Registration) -> bool {
        match (self, other) {
            (Self::Url, Self::Url) => of.health_check_url == of_other.health_check_url,
            (Self::Listed(_), Self::Listed(_)) => self.listed(of) == other.listed(of_other),
            _ => false,
        }
    }

    pub(super) fn name(self, of: &Registration) -> &str {
        self.listed(of).map_or(URL_CHECK, |check| &check.name)
    }

    pub(super) fn kind(self, of: &Registration) -> ProbeKind<'_> {
        match self.listed(of) {
            Some(check) => ProbeKind::Listed(check),
            None => ProbeKind::Url(of.health_check_url.as_deref().unwrap_or("")),
        }
    }

    /// The full definition, with the configured defaults filled in.
    pub(super) fn definition<'a>(self, of: &'a Registration, config: &Config) -> Cow<'a, Check> {
        if let Some(check) = self.listed(of) {
            return Cow::Borrowed(check);
        }
        let request = HttpCheck {
            url: of.health_check_url.clone().unwrap_or_default(),
            method: "GET".into(),
            headers: Box::default(),
            expected: [200..=299].into(),
            tls_skip_verify: false,
            redirects: 0,
        };
        Cow::Owned(Check {
            name: URL_CHECK.into(),
            kind: CheckKind::Http(Box::new(request)),
            interval: config.interval.get().max(*config.interval_min),
            timeout: self.timeout(of, config),
            healthy_after: config.healthy_after.get(),
            unhealthy_after: config.unhealthy_after.get(),
            options: None,
        })
    }

    pub(super) fn kind_name(self, of: &Registration) -> &'static str {
        self.listed(of).map_or("http", |check| check.kind.as_str())
    }

    pub(super) fn is_ttl(self, of: &Registration) -> bool {
        let listed = self.listed(of);
        listed.is_some_and(|check| check.kind == CheckKind::Ttl)
    }

    /// True for a check that clients report on.
    pub(super) fn is_reported(self, of: &Registration) -> bool {
        self.listed(of).is_some_and(Check::is_reported)
    }

    /// The instance whose checks this one repeats.
    pub(super) fn alias(self, of: &Registration) -> Option<&str> {
        match &self.listed(of)?.kind {
            CheckKind::Alias { service_id } => Some(service_id),
            _ => None,
        }
    }

    /// True for a check that only this daemon can make: it needs its registry or its machine.
    pub(super) fn is_local(self, of: &Registration) -> bool {
        let kind = self.listed(of).map(|check| &check.kind);
        matches!(
            kind,
            Some(CheckKind::Alias { .. } | CheckKind::Script { .. })
        )
    }

    /// What it says before its first result.
    pub(super) fn initial(self, of: &Registration) -> Standing {
        self.listed(of).map_or(Standing::Critical, Check::initial)
    }

    /// Failures in a row that make it warn; 0 for never.
    pub(super) fn warning_after(self, of: &Registration) -> u32 {
        let options = self.listed(of).and_then(|check| check.options.as_ref());
        options.map_or(0, |options| options.warning_after)
    }

    /// How long it may be critical before its instance is removed, in milliseconds.
    pub(super) fn remove_after_ms(self, of: &Registration) -> Option<u64> {
        let options = self.listed(of)?.options.as_ref()?;
        options.remove_after.map(millis)
    }

    /// Time between two probes, in milliseconds.
    pub(super) fn interval_ms(self, of: &Registration, config: &Config) -> u64 {
        let interval = self
            .listed(of)
            .map_or(*config.interval, |check| check.interval);
        millis(interval.max(*config.interval_min))
    }

    /// How long one probe may take.
    pub(super) fn timeout(self, of: &Registration, config: &Config) -> Duration {
        let timeout = self
            .listed(of)
            .map_or(*config.timeout, |check| check.timeout);
        timeout.min(*config.timeout_max)
    }

    pub(super) fn rules(self, of: &Registration, config: &Config) -> VerdictRules {
        let (healthy_after, unhealthy_after) = match self.listed(of) {
            // The interval is the longest time without a heartbeat: one failure is enough.
            Some(check) if check.kind == CheckKind::Ttl => (1, 1),
            Some(check) => (check.healthy_after, check.unhealthy_after),
            None => (*config.healthy_after, *config.unhealthy_after),
        };
        let interval_ms = self.interval_ms(of, config);
        VerdictRules {
            healthy_after,
            unhealthy_after,
            // Consul's checks say what they say, however often that changes.
            flips_max: match self.listed(of).is_some_and(|check| check.options.is_some()) {
                true => usize::MAX,
                false => config.flap_flips_max.get(),
            },
            window_ms: interval_ms.saturating_mul(u64::from(*config.flap_intervals)),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
