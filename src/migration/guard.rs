//! The guard: decides when the way over the broker is so bad that everything goes back to direct.
//!
//! A rule must be broken in several windows in a row, each with enough samples. The guard only
//! decides; `state` acts.

use std::{collections::VecDeque, time::Duration};

use super::{
    baseline::Baseline,
    config::Config,
    window::{FailureWindow, Measured, Measurements, Window, WindowEnd, WindowSize, ms, share},
};
use crate::api::MigrationRule;

/// The rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rule {
    BrokerAway,
    RegisterLatency,
    DiscoverLatency,
    DeliveryLatency,
    DiscoveryFailures,
    CanaryFailures,
}

impl Rule {
    pub(super) const ALL: [Self; 6] = [
        Self::BrokerAway,
        Self::RegisterLatency,
        Self::DiscoverLatency,
        Self::DeliveryLatency,
        Self::DiscoveryFailures,
        Self::CanaryFailures,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::BrokerAway => "broker_away",
            Self::RegisterLatency => "register_latency",
            Self::DiscoverLatency => "discover_latency",
            Self::DeliveryLatency => "delivery_latency",
            Self::DiscoveryFailures => "discovery_failures",
            Self::CanaryFailures => "canary_failures",
        }
    }

    fn of(what: Measured) -> Self {
        match what {
            Measured::Register => Self::RegisterLatency,
            Measured::Discover => Self::DiscoverLatency,
            Measured::Delivery => Self::DeliveryLatency,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::BrokerAway => "s",
            Self::RegisterLatency | Self::DiscoverLatency | Self::DeliveryLatency => "ms",
            Self::DiscoveryFailures | Self::CanaryFailures => "share",
        }
    }
}

/// Which rules may cause a rollback now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Armed {
    pub(super) broker: bool,
    pub(super) others: bool,
}

impl Armed {
    fn is(self, rule: Rule) -> bool {
        match rule {
            Rule::BrokerAway => self.broker,
            _ => self.others,
        }
    }
}

/// A rule that was broken in enough windows, with the reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) reason: String,
}

/// The figures that the guard judges at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuardInput<'a> {
    pub(super) now_ms: u64,
    /// How long the broker has not answered.
    pub(super) silent: Option<Duration>,
    /// The last error of the broker.
    pub(super) trouble: Option<&'a str>,
    pub(super) sources: &'a Measurements,
    pub(super) baseline: Option<&'a Baseline>,
    pub(super) armed: Armed,
    pub(super) config: &'a Config,
}

/// The last value of a rule.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    value: Option<f64>,
    threshold: Option<f64>,
    /// In how many windows in a row it was broken.
    broken: u32,
}

/// The readings of all rules.
#[derive(Clone, Debug)]
pub(super) struct RollbackGuard {
    readings: [Reading; 6],
    windows: [Window; 3],
    failures: FailureWindow,
    /// Whether the canary's last runs passed.
    canary_runs: VecDeque<bool>,
    /// How many runs were not judged yet.
    unjudged: u32,
    armed: Armed,
}

impl RollbackGuard {
    pub(super) fn new(now_ms: u64, sources: &Measurements) -> Self {
        let window = |what| Window::begin(now_ms, sources.of(what));
        Self {
            readings: Default::default(),
            windows: Measured::ALL.map(window),
            failures: FailureWindow::begin(now_ms, sources),
            canary_runs: VecDeque::new(),
            unjudged: 0,
            armed: Armed::default(),
        }
    }

    /// Drops all readings, because the modes changed.
    pub(super) fn start_over(&mut self, now_ms: u64, sources: &Measurements) {
        *self = Self::new(now_ms, sources);
    }

    /// A run of the canary ended.
    pub(super) fn canary_finished(&mut self, passed: bool, runs: usize) {
        self.canary_runs.push_back(passed);
        while self.canary_runs.len() > runs {
            self.canary_runs.pop_front();
        }
        self.unjudged += 1;
    }

    /// The canary pauses: earlier runs do not count after it.
    pub(super) fn pause_canary(&mut self) {
        self.canary_runs.clear();
        self.unjudged = 0;
        self.readings[Rule::CanaryFailures as usize] = Reading::default();
    }

    /// Takes every reading; returns a rule that was broken in enough windows.
    pub(super) fn look(&mut self, input: &GuardInput<'_>) -> Option<Broken> {
        if !self.armed.others && input.armed.others {
            self.arm(input);
        }
        self.armed = input.armed;
        self.broker(input)
            .or_else(|| self.latencies(input))
            .or_else(|| self.discovery(input))
            .or_else(|| self.canary(input))
    }

    /// Readings from before the rules were armed do not count.
    fn arm(&mut self, input: &GuardInput<'_>) {
        let silent = self.readings[Rule::BrokerAway as usize];
        self.start_over(input.now_ms, input.sources);
        self.readings[Rule::BrokerAway as usize] = silent;
    }

    /// A rule that is broken now, if not yet in enough windows.
    pub(super) fn broken_rule(&self) -> Option<Rule> {
        let uneasy = |rule: &Rule| self.readings[*rule as usize].broken > 0;
        Rule::ALL.into_iter().find(uneasy)
    }

    fn broker(&mut self, input: &GuardInput<'_>) -> Option<Broken> {
        let allowed = input.config.broker_away.get();
        let silent = input.silent.unwrap_or_default();
        let reading = &mut self.readings[Rule::BrokerAway as usize];
        reading.value = Some(silent.as_secs_f64());
        reading.threshold = Some(allowed.as_secs_f64());
        reading.broken = u32::from(silent > allowed && input.armed.broker);
        (reading.broken > 0).then(|| Broken {
            rule: Rule::BrokerAway,
            reason: away(silent, allowed, input.trouble),
        })
    }

    fn latencies(&mut self, input: &GuardInput<'_>) -> Option<Broken> {
        let mut found = None;
        for what in Measured::ALL {
            let seen = input.sources.of(what);
            let closed = self.windows[what as usize].close(input.now_ms, seen, size(input.config));
            let Some(closed) = closed else { continue };
            let WindowEnd::Full(tail) = closed else {
                self.readings[Rule::of(what) as usize] = Reading::default();
                continue;
            };
            let config = input.config;
            let allowed = input.baseline.and_then(|baseline| {
                baseline.allowed(what, *config.latency_increase_max, *config.latency_floor)
            });
            let reading = Reading {
                value: Some(ms(tail.p95)),
                threshold: allowed.map(ms),
                ..self.readings[Rule::of(what) as usize]
            };
            let broken = self.judge(Rule::of(what), reading, input);
            found = found.or_else(|| broken.then(|| Broken {
                rule: Rule::of(what),
                reason: format!(
                    "the 95th percentile of {} is {:.1} ms, {:.1} ms are allowed, in {} windows in a row",
                    what.as_str(),
                    ms(tail.p95),
                    ms(allowed.unwrap_or_default()),
                    config.windows
                ),
            }));
        }
        found
    }

    fn discovery(&mut self, input: &GuardInput<'_>) -> Option<Broken> {
        let config = input.config;
        let closed = self
            .failures
            .close(input.now_ms, input.sources, size(config))?;
        let WindowEnd::Full(failed) = closed else {
            self.readings[Rule::DiscoveryFailures as usize] = Reading::default();
            return None;
        };
        let reading = Reading {
            value: Some(failed),
            threshold: Some(config.discovery_failures_max.get()),
            ..self.readings[Rule::DiscoveryFailures as usize]
        };
        let broken = self.judge(Rule::DiscoveryFailures, reading, input);
        broken.then(|| Broken {
            rule: Rule::DiscoveryFailures,
            reason: format!(
                "{:.1} % of the discovery requests fail, {:.1} % are allowed, in {} windows in a row",
                failed * 100.0,
                config.discovery_failures_max.get() * 100.0,
                config.windows
            ),
        })
    }

    /// Judges the last `canary_runs` runs. Missing runs count as passed, so that a few failures are not enough.
    fn canary(&mut self, input: &GuardInput<'_>) -> Option<Broken> {
        if std::mem::take(&mut self.unjudged) == 0 {
            return None;
        }
        let config = input.config;
        let failed = self.canary_runs.iter().filter(|passed| !**passed).count() as u64;
        let runs = *config.canary_runs as u64;
        let reading = Reading {
            value: Some(share(failed, runs)),
            threshold: Some(config.canary_failures_max.get()),
            ..self.readings[Rule::CanaryFailures as usize]
        };
        let broken = self.judge(Rule::CanaryFailures, reading, input);
        broken.then(|| Broken {
            rule: Rule::CanaryFailures,
            reason: format!(
                "{failed} of the last {runs} runs of the canary failed, {:.0} % are allowed",
                config.canary_failures_max.get() * 100.0
            ),
        })
    }

    /// Takes a reading; true when the rule was broken in enough windows in a row.
    fn judge(&mut self, rule: Rule, mut reading: Reading, input: &GuardInput<'_>) -> bool {
        let broken = match (reading.value, reading.threshold) {
            (Some(value), Some(threshold)) => value > threshold && input.armed.is(rule),
            _ => false,
        };
        reading.broken = if broken { reading.broken + 1 } else { 0 };
        self.readings[rule as usize] = reading;
        reading.broken >= input.config.windows.get()
    }

    /// The last value of a rule.
    pub(super) fn value(&self, rule: Rule) -> Option<f64> {
        self.readings[rule as usize].value
    }

    pub(super) fn report(&self, config: &Config) -> Vec<MigrationRule> {
        let report = |rule: Rule| {
            let reading = self.readings[rule as usize];
            let has_data = reading.value.is_some() && reading.threshold.is_some();
            let state = match (self.armed.is(rule), has_data) {
                (false, _) => "off",
                (true, false) => "no data",
                (true, true) => "armed",
            };
            MigrationRule {
                name: rule.as_str(),
                state,
                armed: state == "armed",
                value: reading.value,
                threshold: reading.threshold,
                unit: rule.unit(),
                broken: reading.broken,
                windows: match rule {
                    Rule::BrokerAway => 1,
                    _ => config.windows.get(),
                },
            }
        };
        Rule::ALL.map(report).into()
    }
}

/// The reason in words. A broker that refuses requests does answer, so it has other words.
fn away(silent: Duration, allowed: Duration, trouble: Option<&str>) -> String {
    let (silent, allowed) = (silent.as_secs_f64(), allowed.as_secs_f64());
    match trouble {
        None => {
            format!("the broker has not answered for {silent:.1} s, {allowed:.1} s are allowed")
        }
        Some(trouble) => format!(
            "the broker could not be used for {silent:.1} s, {allowed:.1} s are allowed: {trouble}"
        ),
    }
}

fn size(config: &Config) -> WindowSize {
    WindowSize {
        span: config.window.get(),
        samples_min: config.samples_min.get(),
    }
}
