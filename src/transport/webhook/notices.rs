//! Notices for webhooks of everything: one request for each notice, in order. Retried separately from
//! events, so that neither waits for the other.

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::post::Post;
use crate::{
    model::Epoch,
    registry::{NoticeEntry, Notices},
    transport::{
        DeliveryError, Ended, Policy, Retry, message::DeliveryMessage, metrics::DeliveryCounters,
    },
};

/// The progress of one webhook with notices.
#[derive(Debug)]
pub(super) struct Telling {
    notices: Arc<Notices>,
    newest: watch::Receiver<u64>,
    /// The number of the last notice that it received, or that was older than the webhook.
    seen: u64,
    epoch: Epoch,
    retry: Retry,
    refusals_max: u32,
    counts: DeliveryCounters,
}

impl Telling {
    /// Delivers notices from now on.
    pub(super) fn new(
        notices: &Arc<Notices>,
        epoch: Epoch,
        policy: Policy,
        counts: DeliveryCounters,
    ) -> Self {
        Self {
            newest: notices.follow(),
            seen: notices.newest(),
            notices: Arc::clone(notices),
            epoch,
            retry: Retry::new(policy),
            refusals_max: policy.refusals_max,
            counts,
        }
    }

    /// Runs until `stop` with nothing left, or with a receiver that fails.
    ///
    /// # Errors
    /// The receiver ended its deliveries.
    pub(super) async fn run(
        mut self,
        mut post: Post,
        stop: &CancellationToken,
    ) -> Result<(), Ended> {
        loop {
            self.newest.mark_unchanged();
            let next = self.notices.since(self.seen).into_iter().next();
            let Some(notice) = next else {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    changed = self.newest.changed() => if changed.is_err() { return Ok(()) },
                }
                continue;
            };
            let failing = self.retry.failures() > 0;
            let Err(error) = post.send(self.message(&notice), failing).await else {
                self.seen = notice.number;
                self.retry.succeeded();
                continue;
            };
            self.counts.failed(&error);
            match error {
                DeliveryError::Gone => return Err(Ended::Gone),
                // A snapshot can't replace it.
                DeliveryError::Refused(_) if self.retry.failures() + 1 >= self.refusals_max => {
                    self.seen = notice.number;
                    self.retry.succeeded();
                }
                _ if stop.is_cancelled() => return Ok(()),
                error => {
                    let due = self.failed(&error);
                    tokio::select! {
                        () = stop.cancelled() => (),
                        () = sleep_until(due) => (),
                    }
                }
            }
        }
    }

    fn failed(&mut self, error: &DeliveryError) -> Instant {
        let asked = match error {
            DeliveryError::Busy { wait, .. } => *wait,
            _ => None,
        };
        self.retry.failed(Instant::now(), fastrand::f64(), asked)
    }

    fn message(&self, notice: &NoticeEntry) -> DeliveryMessage {
        DeliveryMessage {
            kind: notice.event,
            delivery: format!("{}-notice-{}", self.epoch, notice.number),
            body: notice.json.clone(),
        }
    }
}
