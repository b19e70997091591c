//! A prober: takes requests from the work queue, has them probed, and answers. The daemon has one, and
//! `musterd prober` is nothing else.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicPublishOptions},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    AmqpError, Link,
    consumer::{Consuming, Taker},
    dead::DeadLetters,
    names,
};
use crate::{
    api::{CheckRequest, CheckVerdict},
    model::{Channel as Way, Check, FlagState, Probed, Timestamp},
    registry::Clock,
    telemetry::{IntCounterVec, Metrics},
};

/// The broker keeps a verdict for so long, in milliseconds: nobody waits for older ones.
const VERDICT_KEPT_MS: &str = "60000";

/// Runs checks.
pub trait Probing: fmt::Debug + Send + Sync {
    /// Runs one, limited by the check's timeout and by `left`.
    fn probe<'a>(&'a self, check: &'a Check, left: Duration) -> BoxFuture<'a, Probed>;
}

/// What a prober works with.
#[derive(Debug)]
pub struct ProberSetup {
    /// The connection.
    pub link: Link,
    /// It works while channel health goes over the broker.
    pub flag: watch::Receiver<FlagState>,
    /// Makes the probes.
    pub probing: Arc<dyn Probing>,
    /// Says what is past its deadline.
    pub clock: Clock,
    /// The most probes at once.
    pub probes_max: u16,
    /// At a stop, how long probes under way may still take.
    pub drain: Duration,
}

/// Answers requests of probes.
#[derive(Debug)]
pub struct Prober {
    setup: ProberSetup,
    requests: IntCounterVec,
}

impl Prober {
    /// A prober that has not begun.
    pub fn new(setup: ProberSetup, metrics: &Metrics) -> Self {
        let requests = metrics.counters(
            "musterd_prober_requests_total",
            "Requests that this process's prober took from the queue, by result.",
            &["result"],
        );
        Self { setup, requests }
    }

    /// Works until told to stop; then probes under way are still answered, for as long as they may take.
    pub async fn run(self, stop: CancellationToken) {
        let Self { setup, requests } = self;
        let dead_letters = setup.link.dead_letters().clone();
        let consuming = Consuming {
            link: setup.link,
            queue: names::CHECK_REQUEST,
            way: Way::Health,
            flag: setup.flag,
            present: watch::Sender::new(0),
        };
        let probing = Answering {
            probing: setup.probing,
            clock: setup.clock,
            probes_max: setup.probes_max,
            dead_letters,
            drain: setup.drain,
            requests,
            under_way: TaskTracker::new(),
            over: CancellationToken::new(),
        };
        consuming.run(probing, stop).await;
    }
}

#[derive(Debug)]
struct Answering {
    probing: Arc<dyn Probing>,
    clock: Clock,
    probes_max: u16,
    drain: Duration,
    requests: IntCounterVec,
    dead_letters: DeadLetters,
    under_way: TaskTracker,
    over: CancellationToken,
}

impl Drop for Answering {
    /// Nobody can stop the probes any more: they end now.
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Taker for Answering {
    fn prefetch(&self) -> Option<u16> {
        Some(self.probes_max)
    }

    /// Never waits for a probe: no more are under way than the broker hands out.
    async fn take(&self, channel: &Channel, deliveries: Vec<Delivery>) -> Result<(), AmqpError> {
        for delivery in deliveries {
            match CheckRequest::read(&delivery.data) {
                Err(problem) => {
                    self.dead_letters
                        .bury(channel, &delivery, &problem.detail)
                        .await?;
                    self.count("unreadable");
                    ack(&delivery).await?;
                }
                Ok(request) => match self.left(request.deadline) {
                    None => {
                        self.count("overdue");
                        ack(&delivery).await?;
                    }
                    Some(left) => self.begin(channel, request, left, delivery),
                },
            }
        }
        Ok(())
    }

    async fn drained(&self) {
        self.under_way.close();
        if timeout(self.drain, self.under_way.wait()).await.is_err() {
            let left = self.under_way.len();
            tracing::warn!(
                left,
                "{left} probes were still under way: the broker gives them to another prober"
            );
        }
        self.under_way.reopen();
    }
}

impl Answering {
    fn count(&self, result: &str) {
        self.requests.with_label_values(&[result]).inc();
    }

    /// How long somebody waits for the verdict; none when nobody does any more.
    fn left(&self, deadline: Timestamp) -> Option<Duration> {
        let left_ms = deadline.0.saturating_sub(self.clock.now().wall.0);
        let left_ms = u64::try_from(left_ms).ok().filter(|left_ms| *left_ms > 0);
        left_ms.map(Duration::from_millis)
    }

    fn begin(
        &self,
        channel: &Channel,
        request: CheckRequest<'static>,
        left: Duration,
        delivery: Delivery,
    ) {
        let probe = Probe {
            channel: channel.clone(),
            probing: Arc::clone(&self.probing),
            clock: self.clock.clone(),
            requests: self.requests.clone(),
        };
        let over = self.over.clone();
        self.under_way.spawn(async move {
            tokio::select! {
                () = over.cancelled() => (),
                answered = probe.answer(request, left, delivery) => {
                    if let Err(error) = answered {
                        // The broker gives the request to somebody else.
                        tracing::debug!(%error, "a verdict could not be sent: {error}");
                    }
                }
            }
        });
    }
}

/// One probe on its way.
struct Probe {
    channel: Channel,
    probing: Arc<dyn Probing>,
    clock: Clock,
    requests: IntCounterVec,
}

impl Probe {
    async fn answer(
        self,
        request: CheckRequest<'static>,
        left: Duration,
        delivery: Delivery,
    ) -> Result<(), AmqpError> {
        let probed = self.probing.probe(&request.check, left).await;
        let verdict = CheckVerdict {
            service_id: request.service_id,
            incarnation: request.incarnation,
            check: request.check.name.clone(),
            outcome: probed.outcome,
            latency: probed.latency,
            at: Some(self.clock.now().wall),
            message: probed.text,
        };
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_expiration(VERDICT_KEPT_MS.into());
        if let Some(id) = delivery.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let body = verdict.to_json();
        let sent = self.channel.basic_publish(
            names::EXCHANGE.into(),
            names::VERDICT.into(),
            BasicPublishOptions::default(),
            &body,
            properties,
        );
        sent.await.map_err(AmqpError::at("health.verdict"))?;
        self.requests.with_label_values(&["answered"]).inc();
        ack(&delivery).await
    }
}

/// After the answer has left, over the same channel.
async fn ack(delivery: &Delivery) -> Result<(), AmqpError> {
    let acked = delivery.acker.ack(BasicAckOptions::default());
    acked.await.map(drop).map_err(AmqpError::at("basic.ack"))
}
