//! A prober: takes requests from the work queue, makes the probes, and answers. The daemon has one, and
//! `musterd prober` is nothing else.

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, Link,
    broker::{Delivery, Outgoing, UpTo, short},
    checks::flush,
    consumer::{ConsumerChannel, QueueConsumer, Taker},
    dead::{DeadLetters, Unreadable},
    names,
};
use crate::{
    api::{CheckRequest, CheckVerdict},
    broker::wire::ShortStr,
    model::{Channel, Check, FlagState, Probed, Timestamp},
    registry::Clock,
    telemetry::{IntCounterVec, Metrics},
};

/// The broker keeps a verdict for so long, in milliseconds: older ones are of no use.
const VERDICT_KEPT_MS: &str = "60000";

/// Runs checks.
pub trait Probing: fmt::Debug + Send + Sync {
    /// Runs one, limited by the check's timeout and by `left`.
    fn probe<'a>(&'a self, check: &'a Check, left: Duration) -> BoxFuture<'a, Probed>;
}

/// The parts of a prober.
#[derive(Debug)]
pub struct ProberSetup {
    /// The connection.
    pub link: Link,
    /// It works while channel health uses the broker.
    pub flag: watch::Receiver<FlagState>,
    /// Makes the probes.
    pub probing: Arc<dyn Probing>,
    /// The clock of deadlines.
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

    /// Works until `stop`; then probes under way are still answered, within the time to drain.
    pub async fn run(self, stop: CancellationToken) {
        let Self { setup, requests } = self;
        let consumer = QueueConsumer {
            link: setup.link.clone(),
            queue: names::CHECK_REQUEST,
            channel: Channel::Health,
            flag: setup.flag,
            present: watch::Sender::new(0),
        };
        let probes = ProbesUnderWay {
            probing: setup.probing,
            clock: setup.clock,
            probes_max: setup.probes_max,
            dead_letters: setup.link.dead_letters().clone(),
            drain: setup.drain,
            requests,
            under_way: JoinSet::new(),
            done: Vec::new(),
        };
        consumer.run(probes, stop).await;
    }
}

/// Probes under way. They end when this is dropped.
#[derive(Debug)]
struct ProbesUnderWay {
    probing: Arc<dyn Probing>,
    clock: Clock,
    probes_max: u16,
    drain: Duration,
    requests: IntCounterVec,
    dead_letters: DeadLetters,
    under_way: JoinSet<VerdictReply>,
    done: Vec<VerdictReply>,
}

/// The end of a probe, and the request that it answers.
#[derive(Debug)]
struct VerdictReply {
    request: u64,
    /// None if the probe panicked: the daemon that requested it probes itself.
    verdict: Option<Outgoing>,
}

impl Taker for ProbesUnderWay {
    fn prefetch(&self) -> Option<u16> {
        Some(self.probes_max)
    }

    /// The broker redelivers what the last channel did not acknowledge.
    fn begin(&mut self) {
        self.under_way.abort_all();
        self.under_way = JoinSet::new();
        self.done.clear();
    }

    /// Never waits for a probe: no more are under way than the broker hands out.
    async fn take(
        &mut self,
        open: &mut ConsumerChannel,
        deliveries: Vec<Delivery>,
    ) -> Result<(), AmqpError> {
        let mut unreadable = Vec::new();
        for delivery in &deliveries {
            match CheckRequest::read(&delivery.body) {
                Err(problem) => {
                    self.count("unreadable");
                    unreadable.push(Unreadable {
                        delivery,
                        reason: problem.detail,
                    });
                }
                Ok(request) => match self.left(request.deadline) {
                    Some(left) => self.probe(request, left, delivery),
                    None => {
                        self.count("overdue");
                        open.channel.ack(delivery.tag, UpTo::This).await?;
                    }
                },
            }
        }
        let connection = open.usage.connection();
        self.dead_letters
            .dead_letter(connection, &unreadable)
            .await?;
        for letter in &unreadable {
            open.channel.ack(letter.delivery.tag, UpTo::This).await?;
        }
        Ok(())
    }

    async fn ready(&mut self) {
        match self.under_way.join_next().await {
            Some(Ok(answer)) => self.done.push(answer),
            // Panics are caught in the task.
            Some(Err(error)) => tracing::error!(%error, "a probe ended without a verdict: {error}"),
            None => std::future::pending().await,
        }
    }

    /// The verdict leaves before its request is acknowledged, over the same channel.
    async fn answer(&mut self, open: &mut ConsumerChannel) -> Result<(), AmqpError> {
        while let Some(Ok(answer)) = self.under_way.try_join_next() {
            self.done.push(answer);
        }
        for verdict in self.done.iter().filter_map(|one| one.verdict.as_ref()) {
            open.channel.publish(verdict.clone());
        }
        flush(&mut *open.channel).await?;
        for answer in std::mem::take(&mut self.done) {
            self.count(match answer.verdict {
                Some(_) => "answered",
                None => "panicked",
            });
            open.channel.ack(answer.request, UpTo::This).await?;
        }
        Ok(())
    }

    async fn drain(&mut self, open: &mut ConsumerChannel) -> Result<(), AmqpError> {
        let max = self.drain;
        let drained = timeout(max, async {
            while !self.under_way.is_empty() {
                self.ready().await;
                self.answer(open).await?;
            }
            Ok(())
        });
        if let Ok(ended) = drained.await {
            return ended;
        }
        let left = self.under_way.len();
        tracing::warn!(
            left,
            "{left} probes were still under way: the broker gives them to another prober"
        );
        Ok(())
    }
}

impl ProbesUnderWay {
    fn count(&self, result: &str) {
        self.requests.with_label_values(&[result]).inc();
    }

    /// The time left until the deadline; none when it has passed.
    fn left(&self, deadline: Timestamp) -> Option<Duration> {
        let left_ms = deadline.0.saturating_sub(self.clock.now().wall.0);
        let left_ms = u64::try_from(left_ms).ok().filter(|left_ms| *left_ms > 0);
        left_ms.map(Duration::from_millis)
    }

    fn probe(&mut self, request: CheckRequest<'static>, left: Duration, delivery: &Delivery) {
        let id = delivery.properties.correlation_id();
        let id = id.and_then(ShortStr::copied);
        let tag = delivery.tag;
        let (probing, clock) = (Arc::clone(&self.probing), self.clock.clone());
        self.under_way.spawn(async move {
            let service_id = request.service_id.clone();
            let verdict = verdict(&*probing, &clock, request, left);
            let verdict = AssertUnwindSafe(verdict).catch_unwind().await.ok();
            if verdict.is_none() {
                tracing::error!(
                    service.id = %service_id,
                    "a probe of \"{service_id}\" panicked: its request gets no verdict"
                );
            }
            VerdictReply {
                request: tag,
                verdict: verdict.map(|mut verdict| {
                    verdict.properties.correlation_id = id;
                    verdict
                }),
            }
        });
    }
}

/// Makes the probe of a request.
async fn verdict(
    probing: &dyn Probing,
    clock: &Clock,
    request: CheckRequest<'static>,
    left: Duration,
) -> Outgoing {
    let probed = probing.probe(&request.check, left).await;
    let verdict = CheckVerdict {
        service_id: request.service_id,
        incarnation: request.incarnation,
        check: request.check.name.clone(),
        outcome: probed.outcome,
        latency: probed.latency,
        at: Some(clock.now().wall),
        message: probed.text,
    };
    let body = verdict.to_json().into();
    let mut verdict = Outgoing::json(names::EXCHANGE, short(names::VERDICT), body);
    verdict.properties.delivery_mode = Some(names::TRANSIENT);
    verdict.properties.expiration = Some(short(VERDICT_KEPT_MS));
    verdict
}

#[cfg(test)]
mod tests;
