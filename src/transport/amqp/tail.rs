//! Listens to our own events on the broker: what has come back is visible to callbacks and webhooks in
//! mode `queue`, and is compared with the log in every mode.

use std::{str::FromStr, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{AmqpError, Counts, Demand, Link, Session, Transit, consumer::Deliveries, names};
use crate::{
    model::{Cursor, Event, Revision},
    registry::Registry,
    transport::{Horizon, Subscriber, message::Message},
};

/// The most messages that wait for us at the broker: what is lost beyond is told by those that follow.
const QUEUE_LENGTH_MAX: u32 = 65_536;
/// How often all that may be unacknowledged is acknowledged while it is taken: an ack for each message
/// would cost as much as the message.
const ACKS_PER_PREFETCH: u16 = 4;
/// After so much silence what came is acknowledged, however little it was.
const ACK_PAUSE: Duration = Duration::from_secs(1);
/// How long to wait after the broker refused us, before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A cheap handle to the listener.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    bound: Arc<watch::Sender<Bound>>,
    /// Asks it to listen anew: its bindings may be gone.
    renewal: Arc<Notify>,
    /// Why it does not listen although there is a connection.
    trouble: Arc<Mutex<Option<String>>>,
}

/// Where it listens; nowhere by default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Bound {
    /// The life of the connection.
    pub(super) session: u64,
    /// Counts up each time it begins to listen.
    pub(super) binding: u64,
}

/// What the listener knows.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) link: Link,
    pub(super) demand: Demand,
    pub(super) registry: Registry,
    pub(super) horizon: Horizon,
    pub(super) transit: Transit,
    pub(super) counts: Counts,
    /// How far events have left and been confirmed.
    pub(super) sender: Arc<Mutex<Subscriber>>,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self {
            bound: Arc::new(watch::Sender::new(Bound::default())),
            renewal: Arc::default(),
            trouble: Arc::default(),
        }
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// What was declared anew has lost its bindings: so have we.
    pub(super) fn renew(&self) {
        self.renewal.notify_one();
    }

    pub(super) fn follow(&self) -> watch::Receiver<Bound> {
        self.bound.subscribe()
    }

    /// Listens whenever there is a connection and somebody needs what comes, until told to stop.
    pub(super) async fn run(self, listener: Listener, stop: CancellationToken) {
        let mut demand = listener.demand.clone();
        loop {
            let needed = async {
                loop {
                    demand.until_needed().await;
                    let session = listener.link.until_up().await;
                    // Perhaps whoever needed them has not waited for the connection.
                    if demand.stands() {
                        return session;
                    }
                }
            };
            let session = tokio::select! {
                () = stop.cancelled() => return,
                session = needed => session,
            };
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = demand.until_over() => {
                    *self.trouble.lock() = None;
                    Ok(())
                }
                () = session.gone().cancelled() => Ok(()),
                () = session.leaving().cancelled() => Ok(()),
                ended = self.listen(&listener, &session) => ended,
            };
            self.bound.send_modify(|bound| bound.session = 0);
            let pause = match ended {
                Ok(()) => listener.link.config().backoff_first,
                Err(error) => {
                    self.refused(&error);
                    RETRY_PAUSE.into()
                }
            };
            drop(session);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause.get()) => (),
            }
        }
    }

    /// Told of once, not at each attempt.
    fn refused(&self, error: &AmqpError) {
        let mut trouble = self.trouble.lock();
        if trouble.is_none() {
            tracing::warn!(%error, "our own events can't be heard on the broker: {error}");
        }
        *trouble = Some(format!("our own events can't be heard: {error}"));
    }

    async fn listen(&self, listener: &Listener, session: &Session) -> Result<(), AmqpError> {
        let channel = session.consuming_channel().await?;
        let prefetch = listener.link.config().prefetch;
        let mut consumer = consume(&channel, prefetch.get()).await?;
        // What was confirmed before we listened does not come any more.
        let mut heard = listener.sender.lock().cursor().revision;
        *self.trouble.lock() = None;
        self.bound.send_modify(|bound| {
            bound.session = session.number();
            bound.binding += 1;
        });
        let mut unacked = 0;
        let mut tag = 0;
        let (mut owed_since, mut declared) = (None, false);
        let patience = listener.link.config().answer_timeout;
        loop {
            let next = timeout(ACK_PAUSE, consumer.next());
            let next = tokio::select! {
                next = next => next,
                () = self.renewal.notified() => return Ok(()),
            };
            let Ok(first) = next else {
                // Silence: a broker may not like what is never acknowledged.
                if unacked > 0 {
                    ack(&channel, tag).await?;
                    unacked = 0;
                }
                let owed = listener.owed(heard);
                if owed == 0 {
                    owed_since = None;
                } else if owed_since.get_or_insert_with(Instant::now).elapsed() < *patience {
                    // Perhaps it is slow.
                } else if !declared {
                    // Perhaps the exchange was deleted and made anew: then others are unbound as we are.
                    names::declare(&channel, patience.get()).await?;
                    declared = true;
                } else {
                    listener.counts.missing(owed);
                    return Err(AmqpError::Unheard { events: owed });
                }
                continue;
            };
            (owed_since, declared) = (None, false);
            let Some(first) = first else {
                return Ok(());
            };
            let mut last = first.map_err(AmqpError::at("consuming"))?;
            listener.take(&last, &mut heard);
            unacked += 1;
            while let Some(Some(next)) = consumer.next().now_or_never() {
                last = next.map_err(AmqpError::at("consuming"))?;
                listener.take(&last, &mut heard);
                unacked += 1;
            }
            listener.horizon.raise(heard);
            // Nobody waits for these acks: they only keep the broker sending.
            if unacked >= prefetch.div_ceil(ACKS_PER_PREFETCH) {
                ack(&channel, last.delivery_tag).await?;
                unacked = 0;
            }
            tag = last.delivery_tag;
        }
    }
}

async fn ack(channel: &Channel, tag: u64) -> Result<(), AmqpError> {
    let acked = channel.basic_ack(tag, BasicAckOptions { multiple: true });
    acked.await.map_err(AmqpError::at("basic.ack"))
}

async fn consume(channel: &Channel, prefetch: u16) -> Result<Deliveries, AmqpError> {
    let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
    qos.await.map_err(AmqpError::at("basic.qos"))?;
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongUInt(QUEUE_LENGTH_MAX));
    let declared = channel.queue_declare(ShortString::default(), options, arguments);
    let declared = declared.await.map_err(AmqpError::at("queue.declare"))?;
    let queue = declared.name().clone();
    for key in ["service.events.#", "gateway.routes.#"] {
        let bound = channel.queue_bind(
            queue.clone(),
            names::EXCHANGE.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.map_err(AmqpError::at("queue.bind"))?;
    }
    let consumer = channel.basic_consume(
        queue,
        "musterd".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let consumer = consumer.await.map_err(AmqpError::at("basic.consume"))?;
    Ok(consumer.fuse())
}

impl Listener {
    /// How many events the broker has confirmed that were not heard.
    fn owed(&self, heard: Revision) -> u64 {
        let confirmed = self.sender.lock().cursor().revision;
        let heard = heard.max(self.transit.resynced_until());
        confirmed.0.saturating_sub(heard.0)
    }

    fn take(&self, delivery: &Delivery, heard: &mut Revision) {
        let id = delivery.properties.message_id().as_ref();
        let cursor = id.and_then(|id| Cursor::from_str(id.as_str()).ok());
        // Snapshots, and the events of another daemon on the same broker.
        let Some(cursor) = cursor.filter(|cursor| cursor.epoch == self.registry.epoch()) else {
            return;
        };
        let revision = cursor.revision;
        // What nobody has sent yet is not ours.
        if revision <= *heard || revision > self.registry.newest() {
            return;
        }
        let begun = (*heard).max(self.transit.resynced_until());
        self.counts.missing(revision.0.saturating_sub(begun.0 + 1));
        *heard = revision;
        if let Some(left) = self.transit.arrived(revision)
            && left.elapsed() > *self.link.config().late_after
        {
            self.counts.late();
        }
        self.counts.compared();
        if self.event(revision).is_some_and(|event| {
            Message::event(&event, self.registry.clock()).body != delivery.data
        }) {
            self.counts.different();
        }
    }

    fn event(&self, revision: Revision) -> Option<Arc<Event>> {
        let before = Revision(revision.0.checked_sub(1)?);
        self.registry.since(before, 1).ok()?.pop()
    }
}
