//! The way out: every event a persistent message on the topic exchange, confirmed before its cursor moves.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, LongString},
};

use super::{AmqpError, Counts, Link, Owed, Session, Tail, Transit, names};
use crate::{
    model::{Channel as Way, Event, EventKind, ServiceName, Timestamp},
    registry::{Clock, Registry, View},
    transport::{DeliveryError, Horizon, Reach, Snapshot, Transport, message::Message},
};

const PERSISTENT: u8 = 2;

/// Publishes the events of one channel.
#[derive(Debug)]
pub(super) struct Topics {
    way: Way,
    link: Link,
    clock: Clock,
    registry: Registry,
    tail: Tail,
    /// The life of the connection on which a channel was last opened.
    opened: u64,
    counts: Counts,
    transit: Transit,
    horizon: Horizon,
    owed: Owed,
    answer_timeout: Duration,
    window: usize,
    body_max: usize,
    open: Option<Open>,
    /// Services that subscribers were told of as having instances: their going must be told too when
    /// a snapshot takes the place of what was missed.
    told: BTreeSet<ServiceName>,
}

/// A channel in confirm mode, and the life of the connection it belongs to.
#[derive(Debug)]
struct Open {
    number: u64,
    channel: Channel,
}

/// One message, ready to be sent.
struct Letter {
    key: String,
    body: Bytes,
    properties: BasicProperties,
}

impl Topics {
    pub(super) fn new(
        way: Way,
        link: &Link,
        registry: &Registry,
        tail: Tail,
        counts: Counts,
        transit: Transit,
        horizon: Horizon,
    ) -> Self {
        Self {
            way,
            clock: registry.clock().clone(),
            registry: registry.clone(),
            tail,
            opened: 0,
            counts,
            transit,
            horizon,
            window: link.config().window.get(),
            body_max: usize::try_from(link.config().body_max.as_u64()).unwrap_or(usize::MAX),
            owed: link.owed(),
            answer_timeout: link.config().answer_timeout.get(),
            link: link.clone(),
            open: None,
            told: BTreeSet::new(),
        }
    }

    /// What the broker owes it.
    pub(super) fn owed(&self) -> Owed {
        self.owed.clone()
    }

    /// A channel on the connection as it is now.
    async fn channel(&mut self, session: &Session) -> Result<Channel, AmqpError> {
        let known = self
            .open
            .take()
            .filter(|open| open.number == session.number());
        if let Some(open) = known.filter(|open| open.channel.status().connected()) {
            return Ok(self.open.insert(open).channel.clone());
        }
        let channel = session.channel().await?;
        // Whoever deleted the exchange meanwhile gets it back.
        names::declare(&channel, self.answer_timeout).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        AmqpError::within("confirm.select", self.answer_timeout, confirms).await?;
        let number = session.number();
        if self.opened == number {
            // The last one was closed, perhaps because the exchange was gone: so are its bindings.
            self.tail.renew();
        }
        self.opened = number;
        Ok(self.open.insert(Open { number, channel }).channel.clone())
    }

    /// Sends letters in order, as many ahead of their confirms as the window allows, and calls `arrived`
    /// for each that is confirmed, in order, up to the first that is not.
    async fn send(
        &mut self,
        letters: impl Iterator<Item = Letter> + Send,
        window: usize,
        mut arrived: impl FnMut(usize) + Send,
    ) -> Result<(), AmqpFailure> {
        let session = self.link.session().ok_or(AmqpError::NotConnected)?;
        let channel = self.channel(&session).await?;
        let mut letters = letters.fuse();
        let mut confirms = FuturesOrdered::new();
        for at in 0.. {
            // Many are written at once, while those before them are on their way.
            if 4 * confirms.len() <= 3 * window {
                let next = letters.by_ref().take(window - confirms.len());
                confirms.extend(next.map(|letter| publish(&channel, letter)));
            }
            self.owed.sent();
            let confirmed = match confirms.next().now_or_never() {
                Some(None) => {
                    self.owed.answered();
                    break;
                }
                Some(Some(confirmed)) => confirmed,
                None => self.wait_for(&mut confirms, &session).await?,
            };
            let confirmed = confirmed.map_err(AmqpError::at("publishing"))?;
            self.owed.answered();
            match confirmed {
                Confirmation::Ack(None) => arrived(at),
                Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                    return Err(AmqpFailure::Returned(returned.reply_text.to_string()));
                }
                Confirmation::Nack(None) => return Err(AmqpFailure::Nacked),
                Confirmation::NotRequested => return Err(AmqpFailure::Nacked),
            }
        }
        Ok(())
    }

    /// The next confirm, as long as the broker may take for it. One that blocks its publishers takes them
    /// when it has room again: sent once more, they would come twice.
    async fn wait_for<F>(
        &mut self,
        confirms: &mut FuturesOrdered<F>,
        session: &Session,
    ) -> Result<F::Output, AmqpError>
    where
        F: Future + Send,
        F::Output: Send,
    {
        loop {
            let confirmed = tokio::time::timeout(self.answer_timeout, confirms.next());
            tokio::select! {
                biased;
                confirmed = confirmed => match confirmed {
                    Ok(Some(confirmed)) => return Ok(confirmed),
                    Err(_) if session.is_blocked() => (),
                    _ => {
                        self.open = None;
                        return Err(AmqpError::Late {
                            what: "a confirm",
                            after: self.answer_timeout,
                        });
                    }
                },
                () = session.gone().cancelled() => return Err(AmqpError::NotConnected),
            }
        }
    }

    /// The state of one service, which may have no instance any more.
    fn service_letters(
        &self,
        snapshot: &Snapshot,
        name: &ServiceName,
        view: Option<&View>,
    ) -> impl Iterator<Item = Letter> + use<> {
        let messages = Message::resync_of(snapshot, name, view, self.body_max, &self.clock);
        let key = names::resync_key(name.as_str());
        resync_letters(messages, key, Some(name), snapshot.taken_at)
    }

    fn routes_letters(&self, snapshot: &Snapshot) -> impl Iterator<Item = Letter> + use<> {
        let messages = Message::resync_of_routes(snapshot, self.body_max, &self.clock);
        let key = names::ROUTES_RESYNC_KEY.to_owned();
        resync_letters(messages, key, None, snapshot.taken_at)
    }

    /// A snapshot per service, also of those that are gone, and of the routes; no more of them in memory
    /// at once than may be under way.
    async fn send_state(&mut self, snapshot: &Snapshot) -> Result<(), AmqpFailure> {
        let present = snapshot.names();
        let gone: Vec<_> = self.told.difference(&present).cloned().collect();
        let services = snapshot.state.services.iter();
        let services = services.map(|(service, view)| (service.name(), Some(&**view)));
        let mut all = services.chain(gone.iter().map(|name| (name, None)));
        loop {
            let some = all.by_ref().take(self.window);
            let letters: Vec<_> = some
                .flat_map(|(name, view)| self.service_letters(snapshot, name, view))
                .collect();
            if letters.is_empty() {
                break;
            }
            let window = self.window;
            self.send(letters.into_iter(), window, |_| ()).await?;
        }
        let routes = self.routes_letters(snapshot);
        self.send(routes, 1, |_| ()).await?;
        self.told = present;
        Ok(())
    }

    /// Of a service without instances nothing is to be told any more.
    fn forget_gone(&mut self, sent: &[&Arc<Event>]) {
        let left = sent
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Deregistered | EventKind::Expired));
        for name in left.filter_map(|event| event.service_name.as_ref()) {
            let service = self.registry.service(name.as_str());
            if service.is_none_or(|service| service.view().instances.is_empty()) {
                self.told.remove(name);
            }
        }
    }

    fn failed(&mut self, failure: AmqpFailure) -> DeliveryError {
        self.counts.failed();
        // With the channel go the confirms that are still to come: all of it is sent again.
        self.open = None;
        DeliveryError::Failed(failure.to_string().into())
    }
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
enum AmqpFailure {
    #[error("{0}")]
    Broker(#[from] AmqpError),
    #[error("the broker refused it (basic.nack): a queue is full or has failed")]
    Nacked,
    #[error("the broker returned it: {0}")]
    Returned(String),
}

async fn publish(channel: &Channel, letter: Letter) -> lapin::Result<Confirmation> {
    let sent = channel.basic_publish(
        names::EXCHANGE.into(),
        letter.key.into(),
        BasicPublishOptions::default(),
        &letter.body,
        letter.properties,
    );
    sent.await?.await
}

/// What tells of an event on this channel, if anything does.
fn letter(way: Way, event: &Event, clock: &Clock) -> Option<Letter> {
    let key = match way {
        Way::Health => names::health_key(event)?,
        Way::Events | Way::Discovery => names::event_key(event),
    };
    let message = Message::event(event, clock);
    let id = match way {
        Way::Health => format!("{}-h", message.delivery),
        Way::Events | Way::Discovery => message.delivery,
    };
    let service_name = event.service_name.as_ref().map(|name| name.as_str());
    let service_id = event.service_id.as_ref().map(|id| id.as_str());
    let mut headers = headers(service_name, service_id);
    let revision = i64::try_from(event.revision.0).unwrap_or(i64::MAX);
    headers.insert("revision".into(), AMQPValue::LongLongInt(revision));
    // A routing key has 255 bytes at most; names have 200.
    Some(Letter {
        key,
        body: message.body,
        properties: properties(id, message.kind, event.timestamp, headers),
    })
}

fn resync_letters(
    messages: Vec<Message>,
    key: String,
    service: Option<&ServiceName>,
    taken_at: Timestamp,
) -> impl Iterator<Item = Letter> + use<> {
    let headers = headers(service.map(|name| name.as_str()), None);
    messages.into_iter().map(move |message| Letter {
        key: key.clone(),
        body: message.body,
        properties: properties(message.delivery, message.kind, taken_at, headers.clone()),
    })
}

fn headers(service_name: Option<&str>, service_id: Option<&str>) -> FieldTable {
    let mut headers = FieldTable::default();
    for (key, value) in [("service_name", service_name), ("service_id", service_id)] {
        if let Some(value) = value {
            let value = AMQPValue::LongString(LongString::from(value));
            headers.insert(key.into(), value);
        }
    }
    headers
}

fn properties(
    id: String,
    kind: &'static str,
    timestamp: Timestamp,
    headers: FieldTable,
) -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.into())
        .with_type(kind.into())
        .with_timestamp(u64::try_from(timestamp.0.div_euclid(1_000)).unwrap_or(0))
        .with_headers(headers)
}

impl Transport for Topics {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        reach: &Reach<'_>,
    ) -> Result<(), DeliveryError> {
        let way = self.way;
        let wanted = |event: &&Arc<Event>| way != Way::Health || names::health_key(event).is_some();
        let sent: Vec<_> = events.iter().filter(wanted).collect();
        if self.way == Way::Events {
            let names = sent.iter().filter_map(|event| event.service_name.clone());
            self.told.extend(names);
            self.transit.left(sent.iter().map(|event| event.revision));
        }
        let clock = self.clock.clone();
        let letters = sent.iter();
        let letters = letters.filter_map(|event| letter(way, event, &clock));
        let counts = self.counts.clone();
        let arrived = |at: usize| {
            counts.sent();
            reach.reached(sent[at]);
        };
        // Where one is refused, no others are sent for nothing.
        let window = if reach.is_failing() { 1 } else { self.window };
        let sending = self.send(letters, window, arrived).await;
        sending.map_err(|failure| self.failed(failure))?;
        self.forget_gone(&sent);
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<Snapshot>,
        _: &Reach<'_>,
    ) -> Result<(), DeliveryError> {
        // Channel health tells of changes only: the snapshots are on channel events.
        if self.way != Way::Events {
            return Ok(());
        }
        let sending = self.send_state(snapshot).await;
        sending.map_err(|failure| self.failed(failure))?;
        // What the snapshot is ahead with is not sent again.
        let until = snapshot.state.covered_until();
        self.transit.resynced(until);
        self.horizon.raise(until);
        Ok(())
    }
}
