//! Consumes the daemon's own events. In mode `queue` they become visible to callbacks and webhooks; in every
//! mode they are compared with the log.

use std::{str::FromStr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    AmqpError, ComparisonCounts, InFlight, Link, LoopbackDemand, Usage,
    broker::{AmqpChannel, Consume, Delivery, Purpose, QueueSpec, UpTo},
    names,
};
use crate::{
    model::{Cursor, Event, Revision},
    registry::Registry,
    transport::{HighWatermark, Subscriber, message::DeliveryMessage},
};

/// The most messages that wait at the broker: older ones are dropped, which the next ones show.
const QUEUE_LENGTH_MAX: i32 = 65_536;
/// How often all that may be unacknowledged is acknowledged while it is taken: an acknowledgement for each
/// message would cost as much as the message.
const ACKS_PER_PREFETCH: u16 = 4;
/// When nothing has come for so long, what came is acknowledged, however little it was.
const ACK_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait after the broker refused something, before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The bindings of its queue.
const KEYS: [&str; 2] = ["service.events.#", "gateway.routes.#"];

/// A cheap handle to the consumer.
#[derive(Clone, Debug)]
pub(super) struct EventConsumer {
    bound: Arc<watch::Sender<ConsumerRun>>,
    /// Asks it to bind again: its bindings may be gone.
    renewal: Arc<Notify>,
    /// Why it does not consume although there is a connection.
    trouble: Arc<Mutex<Option<String>>>,
}

/// Where it consumes; nowhere by default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ConsumerRun {
    /// The number of the connection.
    pub(super) connection: u64,
    /// Counts up each time it begins to consume.
    pub(super) binding: u64,
}

/// The parts of the consumer.
#[derive(Debug)]
pub(super) struct EventConsumerSetup {
    pub(super) link: Link,
    pub(super) demand: LoopbackDemand,
    pub(super) registry: Registry,
    pub(super) watermark: HighWatermark,
    pub(super) in_flight: InFlight,
    pub(super) counts: ComparisonCounts,
    /// How far events were confirmed.
    pub(super) sender: Arc<Mutex<Subscriber>>,
}

impl EventConsumer {
    pub(super) fn new() -> Self {
        Self {
            bound: Arc::new(watch::Sender::new(ConsumerRun::default())),
            renewal: Arc::default(),
            trouble: Arc::default(),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The exchange was declared again, without the bindings it had.
    pub(super) fn renew(&self) {
        self.renewal.notify_one();
    }

    pub(super) fn follow(&self) -> watch::Receiver<ConsumerRun> {
        self.bound.subscribe()
    }

    /// Consumes while there is a connection and the events are needed, until `stop`.
    pub(super) async fn run(self, setup: EventConsumerSetup, stop: CancellationToken) {
        let mut demand = setup.demand.clone();
        loop {
            let needed = async {
                loop {
                    demand.until_needed().await;
                    let usage = setup.link.until_up().await;
                    // Perhaps the need has ended before the connection was up.
                    if demand.is_needed() {
                        return usage;
                    }
                }
            };
            let usage = tokio::select! {
                () = stop.cancelled() => return,
                usage = needed => usage,
            };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = demand.until_over() => {
                    *self.trouble.lock() = None;
                    Ok(())
                }
                () = usage.gone().cancelled() => Ok(()),
                () = usage.leaving().cancelled() => Ok(()),
                ended = self.consume(&setup, &usage) => ended,
            };
            self.bound.send_modify(|bound| bound.connection = 0);
            let pause = match ended {
                Ok(()) => setup.link.config().backoff_first,
                Err(error) => {
                    self.refused(&error);
                    RETRY_PAUSE.into()
                }
            };
            drop(usage);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause.get()) => (),
            }
        }
    }

    /// Logged once, not at each attempt.
    fn refused(&self, error: &AmqpError) {
        let mut trouble = self.trouble.lock();
        if trouble.is_none() {
            tracing::warn!(%error, "the daemon's own events cannot be consumed: {error}");
        }
        *trouble = Some(format!(
            "the daemon's own events cannot be consumed: {error}"
        ));
    }

    async fn consume(&self, setup: &EventConsumerSetup, usage: &Usage) -> Result<(), AmqpError> {
        let mut channel = usage.open(Purpose::Consume).await?;
        let prefetch = setup.link.config().prefetch;
        bind(&mut *channel, prefetch.get()).await?;
        // Events that were confirmed before do not come any more.
        let mut heard = setup.sender.lock().cursor().revision;
        *self.trouble.lock() = None;
        self.bound.send_modify(|bound| {
            bound.connection = usage.number();
            bound.binding += 1;
        });
        let mut unacked = PendingAcks::new(prefetch.get());
        let mut missing = Missing::default();
        loop {
            let next = timeout(ACK_PAUSE, channel.next());
            let next = tokio::select! {
                next = next => next,
                () = self.renewal.notified() => return Ok(()),
            };
            let Ok(next) = next else {
                // Some brokers limit how long a message may stay unacknowledged.
                unacked.ack(&mut *channel).await?;
                missing.check(setup, usage, heard).await?;
                continue;
            };
            missing = Missing::default();
            let Some(deliveries) = next? else {
                return Ok(());
            };
            for delivery in &deliveries {
                setup.take(delivery, &mut heard);
                unacked.note(delivery.tag);
            }
            setup.watermark.raise(heard);
            // These acknowledgements are not awaited: they only let the broker send more.
            if unacked.is_due() {
                unacked.ack(&mut *channel).await?;
            }
        }
    }
}

/// The deliveries taken and not acknowledged.
struct PendingAcks {
    count: u16,
    last: u64,
    due: u16,
}

impl PendingAcks {
    fn new(prefetch: u16) -> Self {
        Self {
            count: 0,
            last: 0,
            due: prefetch.div_ceil(ACKS_PER_PREFETCH),
        }
    }

    fn note(&mut self, tag: u64) {
        self.count = self.count.saturating_add(1);
        self.last = tag;
    }

    fn is_due(&self) -> bool {
        self.count >= self.due
    }

    async fn ack(&mut self, channel: &mut dyn AmqpChannel) -> Result<(), AmqpError> {
        if std::mem::take(&mut self.count) > 0 {
            channel.ack(self.last, UpTo::All).await?;
        }
        Ok(())
    }
}

/// Events that were confirmed and not returned by the broker.
#[derive(Default)]
struct Missing {
    since: Option<Instant>,
    declared: bool,
}

impl Missing {
    /// Called when nothing has come for a while.
    async fn check(
        &mut self,
        setup: &EventConsumerSetup,
        usage: &Usage,
        heard: Revision,
    ) -> Result<(), AmqpError> {
        let events = setup.missing(heard);
        if events == 0 {
            self.since = None;
            return Ok(());
        }
        let since = self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < *setup.link.config().answer_timeout {
            // Perhaps it is slow.
            return Ok(());
        }
        if !self.declared {
            // Perhaps the exchange was deleted and declared again: then other queues are unbound too.
            setup.link.declare_all(usage).await?;
            self.declared = true;
            return Ok(());
        }
        setup.counts.missing(events);
        Err(AmqpError::Unheard { events })
    }
}

async fn bind(channel: &mut dyn AmqpChannel, prefetch: u16) -> Result<(), AmqpError> {
    let queue = QueueSpec {
        exclusive: true,
        messages_max: Some(QUEUE_LENGTH_MAX),
        ..QueueSpec::default()
    };
    let queue = channel.declare_queue(queue).await?;
    for key in KEYS {
        channel.bind(&queue, names::EXCHANGE, key).await?;
    }
    let consume = Consume {
        queue,
        prefetch,
        no_ack: false,
    };
    channel.consume(consume).await
}

impl EventConsumerSetup {
    /// How many events the broker has confirmed and not returned.
    fn missing(&self, heard: Revision) -> u64 {
        let confirmed = self.sender.lock().cursor().revision;
        let heard = heard.max(self.in_flight.resynced_until());
        confirmed.0.saturating_sub(heard.0)
    }

    fn take(&self, delivery: &Delivery, heard: &mut Revision) {
        let id = delivery.properties.message_id();
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        let cursor = id.and_then(|id| Cursor::from_str(id).ok());
        // Snapshots, and the events of another daemon on the same broker.
        let Some(cursor) = cursor.filter(|cursor| cursor.epoch == self.registry.epoch()) else {
            return;
        };
        let revision = cursor.revision;
        // Another daemon's: this one has not sent it.
        if revision <= *heard || revision > self.registry.newest() {
            return;
        }
        let begun = (*heard).max(self.in_flight.resynced_until());
        self.counts.missing(revision.0.saturating_sub(begun.0 + 1));
        *heard = revision;
        if let Some(left) = self.in_flight.arrived(revision)
            && left.elapsed() > *self.link.config().late_after
        {
            self.counts.late();
        }
        self.counts.compared();
        if self.event(revision).is_some_and(|event| {
            DeliveryMessage::event(&event, self.registry.clock()).body != delivery.body
        }) {
            self.counts.different();
        }
    }

    fn event(&self, revision: Revision) -> Option<Arc<Event>> {
        let before = Revision(revision.0.checked_sub(1)?);
        self.registry.since(before, 1).ok()?.pop()
    }
}
