//! Probes for another daemon: takes a check, returns an outcome. Stateless.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Config,
    check::ProbeKind,
    probe::{self, ProbeLimits},
    report::Outcome,
};
use crate::{
    model::{Check, Probed},
    outbound::Client,
};

/// A cheap, cloneable prober.
#[derive(Clone, Debug)]
pub struct LocalProber {
    client: Client,
    limits: ProbeLimits,
    timeout_max: Duration,
}

impl LocalProber {
    /// Probes with `client`, within the limits of `config`.
    pub fn new(config: &Config, client: Client) -> Self {
        Self {
            client,
            limits: ProbeLimits::of(config),
            timeout_max: config.timeout_max.get(),
        }
    }

    /// Probes within the check's timeout and within `left`. If `left` is the shorter one and runs out, the
    /// probe is skipped: it says nothing about the instance.
    pub async fn probe(&self, check: &Check, left: Duration) -> Probed {
        let timeout = check.timeout.min(self.timeout_max);
        let began = Instant::now();
        let kind = ProbeKind::Listed(check);
        let (outcome, text) = probe::run(&self.client, kind, timeout.min(left), self.limits).await;
        let (outcome, text) = if outcome == Outcome::TimedOut && left < timeout {
            let text = "the deadline came before the check's timeout".into();
            (Outcome::Skipped, text)
        } else {
            (outcome, text)
        };
        Probed {
            outcome,
            latency: began.elapsed(),
            text,
        }
    }
}
