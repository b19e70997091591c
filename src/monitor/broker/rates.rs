//! How much happens per second: the broker's totals now, less what they were a few seconds ago.

use std::{
    collections::{HashMap, VecDeque},
    ops::AddAssign,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::{
    Broker,
    pages::MessageRates,
    queue::{QueueCounters, QueueId},
    server::Overview,
    vhost::{QueueView, VhostCounters, VhostSample},
};

/// How often the totals are written down.
const EVERY: Duration = Duration::from_millis(2500);

/// How many times are remembered: rates are of the last 2.5 to 5 seconds.
const KEPT: usize = 2;

/// One of so many samples ends a point of the history, which is then of 10 s.
const SAMPLES_PER_POINT: u32 = 4;

/// How many points of the history are kept: ten minutes.
const POINTS: usize = 60;

/// MessageRates are of one second at least, so that the first messages of a daemon are no flood.
const SECONDS_MIN: f64 = 1.0;

/// Totals of which rates are made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MessageCounts {
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) acked: u64,
}

impl MessageCounts {
    /// Of the whole broker.
    pub(super) fn of(overview: &Overview) -> Self {
        let mut counts = Self::default();
        for vhost in &overview.vhosts {
            counts += vhost.counters.into();
        }
        counts
    }
}

impl From<VhostCounters> for MessageCounts {
    fn from(of: VhostCounters) -> Self {
        Self {
            published: of.published,
            delivered: of.delivered,
            acked: of.acked,
        }
    }
}

impl From<QueueCounters> for MessageCounts {
    fn from(of: QueueCounters) -> Self {
        Self {
            published: of.published,
            delivered: of.delivered,
            acked: of.acked,
        }
    }
}

impl AddAssign for MessageCounts {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.delivered += other.delivered;
        self.acked += other.acked;
    }
}

/// The totals at one moment.
#[derive(Debug)]
pub(super) struct Sample {
    at: Instant,
    all: MessageCounts,
    /// By vhost; those queues only in which anything happened.
    queues: HashMap<String, Vec<(QueueId, MessageCounts)>>,
}

impl Sample {
    fn new(vhosts: HashMap<String, VhostSample>) -> Self {
        let mut all = MessageCounts::default();
        let mut queues = HashMap::with_capacity(vhosts.len());
        for (name, sample) in vhosts {
            all += sample.counters.into();
            let counts = sample.queues.into_iter();
            queues.insert(name, counts.map(|(id, of)| (id, of.into())).collect());
        }
        Self {
            at: Instant::now(),
            all,
            queues,
        }
    }

    /// Of the whole broker, from then to now.
    pub(super) fn of_all(&self, now: MessageCounts) -> MessageRates {
        self.rates(self.all, now)
    }

    /// Of one queue, from then to now. One that is not in the sample had done nothing by then.
    pub(super) fn of_queue(&self, queue: &QueueView) -> MessageRates {
        let then = self.queues.get(&queue.vhost).and_then(|queues| {
            let at = queues.binary_search_by_key(&queue.id, |(id, _)| *id);
            at.ok().and_then(|at| queues.get(at))
        });
        let then = then.map_or_else(MessageCounts::default, |(_, counts)| *counts);
        self.rates(then, queue.counters.into())
    }

    fn rates(&self, then: MessageCounts, now: MessageCounts) -> MessageRates {
        rates_of(self.at.elapsed(), then, now)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a few seconds have fewer messages than 2^53"
)]
fn rates_of(span: Duration, then: MessageCounts, now: MessageCounts) -> MessageRates {
    let seconds = span.as_secs_f64().max(SECONDS_MIN);
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let rate = |then: u64, now: u64| tenths(now.saturating_sub(then) as f64 / seconds);
    MessageRates {
        over_seconds: tenths(seconds),
        published: rate(then.published, now.published),
        delivered: rate(then.delivered, now.delivered),
        acked: rate(then.acked, now.acked),
    }
}

/// Writes the totals down every few seconds.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    samples: Arc<Mutex<VecDeque<Arc<Sample>>>>,
    first: Arc<Sample>,
    /// Rates of the broker, oldest first.
    history: Arc<Mutex<VecDeque<MessageRates>>>,
}

impl Default for Sampler {
    /// Before the broker has done anything.
    fn default() -> Self {
        Self {
            samples: Arc::default(),
            first: Arc::new(Sample::new(HashMap::new())),
            history: Arc::default(),
        }
    }
}

impl Sampler {
    /// The totals as they were longest ago.
    pub(super) fn oldest(&self) -> Arc<Sample> {
        let samples = self.samples.lock();
        Arc::clone(samples.front().unwrap_or(&self.first))
    }

    /// The rates of the last ten minutes, oldest first, one for each 10 s.
    pub(super) fn history(&self) -> Vec<MessageRates> {
        self.history.lock().iter().copied().collect()
    }

    /// Samples until `stop`.
    pub(super) async fn run(self, broker: Broker, stop: CancellationToken) {
        let (mut began, mut taken) = ((Instant::now(), MessageCounts::default()), 0);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {
                    let sample = Sample::new(broker.sample().await);
                    taken += 1;
                    if taken == SAMPLES_PER_POINT {
                        taken = 0;
                        let (at, then) = std::mem::replace(&mut began, (sample.at, sample.all));
                        self.note(rates_of(sample.at - at, then, sample.all));
                    }
                    self.keep(sample);
                }
            }
        }
    }

    /// Adds a point to the history.
    fn note(&self, rates: MessageRates) {
        let mut history = self.history.lock();
        history.push_back(rates);
        if history.len() > POINTS {
            history.pop_front();
        }
    }

    fn keep(&self, sample: Sample) {
        let mut samples = self.samples.lock();
        samples.push_back(Arc::new(sample));
        // Dropped only when the lock is free again: a sample of many queues takes a while.
        let old = (samples.len() > KEPT).then(|| samples.pop_front());
        drop(samples);
        drop(old);
    }
}

#[cfg(test)]
mod tests;
