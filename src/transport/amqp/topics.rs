//! Events out: each one a persistent message on the topic exchange, confirmed before its cursor moves.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    AmqpError, ComparisonCounts, EventConsumer, InFlight, Link, UnconfirmedSince, Usage,
    broker::{AmqpChannel, JSON, Outgoing, Purpose, Unconfirmed, short},
    names,
};
use crate::{
    broker::wire::{ShortStr, Table, properties::PropertyList, table::TableBuilder},
    model::{Channel, Event, EventKind, ServiceName, Timestamp},
    registry::{Clock, Registry, View},
    transport::{
        DeliveryError, DeliveryProgress, FeedSnapshot, HighWatermark, Transport,
        message::DeliveryMessage,
    },
};

/// Publishes the events of one channel.
#[derive(Debug)]
pub(super) struct Topics {
    way: Channel,
    link: Link,
    clock: Clock,
    registry: Registry,
    consumer: EventConsumer,
    /// The number of the connection over which a channel was last opened.
    opened: u64,
    counts: ComparisonCounts,
    in_flight: InFlight,
    watermark: HighWatermark,
    unconfirmed: UnconfirmedSince,
    window: usize,
    body_max: usize,
    open: Option<Open>,
    /// Services that subscribers know to have instances: a snapshot must also say that they are gone.
    known: BTreeSet<ServiceName>,
}

/// A channel with confirms, and the number of its connection.
#[derive(Debug)]
struct Open {
    number: u64,
    channel: Box<dyn AmqpChannel>,
}

impl Topics {
    pub(super) fn new(
        way: Channel,
        link: &Link,
        registry: &Registry,
        consumer: EventConsumer,
        counts: ComparisonCounts,
        in_flight: InFlight,
        watermark: HighWatermark,
    ) -> Self {
        Self {
            way,
            clock: registry.clock().clone(),
            registry: registry.clone(),
            consumer,
            opened: 0,
            counts,
            in_flight,
            watermark,
            window: link.config().window.get(),
            body_max: usize::try_from(link.config().body_max.as_u64()).unwrap_or(usize::MAX),
            unconfirmed: link.unconfirmed(),
            link: link.clone(),
            open: None,
            known: BTreeSet::new(),
        }
    }

    /// Subscribers know the present services from an earlier run.
    pub(super) fn know_present(&mut self) {
        let services = self.registry.services();
        self.known = services.iter().map(|one| one.name().clone()).collect();
    }

    /// Since when it waits for a confirm.
    pub(super) fn unconfirmed(&self) -> UnconfirmedSince {
        self.unconfirmed.clone()
    }

    /// A channel on the connection as it is now.
    async fn channel(&mut self, usage: &Usage) -> Result<Box<dyn AmqpChannel>, AmqpError> {
        let number = usage.number();
        let reusable = self.open.take().filter(|open| open.number == number);
        if let Some(open) = reusable.filter(|open| open.channel.is_open()) {
            return Ok(open.channel);
        }
        if self.opened == number {
            // The last channel was closed, perhaps because the exchange was deleted, and with it the bindings.
            self.link.declare_all(usage).await?;
            self.consumer.renew();
        }
        let channel = usage.open(Purpose::SendConfirmed).await?;
        self.opened = number;
        Ok(channel)
    }

    /// Sends messages in order, as many ahead of their confirms as the window allows. Calls `arrived` for
    /// each that is confirmed, in order, up to the first that is not. A broker that is `failing` gets one
    /// message first, and the rest after its confirm.
    async fn send(
        &mut self,
        messages: impl Iterator<Item = Outgoing> + Send,
        failing: bool,
        mut arrived: impl FnMut(usize) + Send,
    ) -> Result<(), Unconfirmed> {
        let usage = self.link.usage().ok_or(AmqpError::NotConnected)?;
        let mut channel = self.channel(&usage).await?;
        let mut messages = messages.fuse();
        let mut window = if failing { 1 } else { self.window };
        let (mut waiting, mut confirmed) = (0, 0);
        self.unconfirmed.sent();
        loop {
            // Many are written at once, while those before them are on their way.
            if 4 * waiting <= 3 * window {
                for message in messages.by_ref().take(window - waiting) {
                    channel.publish(message);
                    waiting += 1;
                }
            }
            if waiting == 0 {
                self.unconfirmed.answered();
                break;
            }
            let more = self.wait_for(&mut *channel, &usage).await?;
            self.unconfirmed.confirmed_some();
            (confirmed..confirmed + more).for_each(&mut arrived);
            confirmed += more;
            waiting = waiting.saturating_sub(more);
            window = self.window;
        }
        // An error drops the channel, and with it the confirms that are still to come: all of it is sent again.
        let number = usage.number();
        self.open = Some(Open { number, channel });
        Ok(())
    }

    /// The next confirms, as long as the broker may take for one. A broker that blocks publishers takes messages
    /// when it has room again: what it is waited for is not sent twice.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "a shared reference to it cannot be sent to another thread"
    )]
    async fn wait_for(
        &mut self,
        channel: &mut dyn AmqpChannel,
        usage: &Usage,
    ) -> Result<usize, Unconfirmed> {
        let after = self.link.config().answer_timeout;
        loop {
            let confirmed = tokio::time::timeout(after.get(), channel.confirmed());
            tokio::select! {
                biased;
                confirmed = confirmed => match confirmed {
                    Ok(Ok(more)) if more > 0 => return Ok(more),
                    Ok(Err(error)) => {
                        if matches!(error, Unconfirmed::Refused) {
                            self.unconfirmed.answered();
                        }
                        return Err(error);
                    }
                    Err(_) if usage.is_blocked() => (),
                    Ok(Ok(_)) | Err(_) => {
                        return Err(AmqpError::Late { what: "a confirm", after: after.get() }.into());
                    }
                },
                () = usage.gone().cancelled() => return Err(AmqpError::NotConnected.into()),
            }
        }
    }

    /// The state of one service, which may have no instance any more.
    fn service_messages(
        &self,
        snapshot: &FeedSnapshot,
        name: &ServiceName,
        view: Option<&View>,
    ) -> impl Iterator<Item = Outgoing> + use<> {
        let messages = DeliveryMessage::resync_of(snapshot, name, view, self.body_max, &self.clock);
        let key = names::resync_key(name.as_str());
        resync_messages(messages, &key, Some(name), snapshot.taken_at)
    }

    fn routes_messages(&self, snapshot: &FeedSnapshot) -> impl Iterator<Item = Outgoing> + use<> {
        let messages = DeliveryMessage::resync_of_routes(snapshot, self.body_max, &self.clock);
        resync_messages(messages, names::ROUTES_RESYNC_KEY, None, snapshot.taken_at)
    }

    /// A snapshot per service, also of those that are gone, and of the routes. No more of them are in memory
    /// at once than may be under way.
    async fn send_state(
        &mut self,
        snapshot: &FeedSnapshot,
        failing: bool,
    ) -> Result<(), Unconfirmed> {
        let present = snapshot.names();
        let gone: Vec<_> = self.known.difference(&present).cloned().collect();
        let services = snapshot.state.services.iter();
        let services = services.map(|(service, view)| (service.name(), Some(&**view)));
        let mut all = services.chain(gone.iter().map(|name| (name, None)));
        loop {
            let some = all.by_ref().take(self.window);
            let messages: Vec<_> = some
                .flat_map(|(name, view)| self.service_messages(snapshot, name, view))
                .collect();
            if messages.is_empty() {
                break;
            }
            self.send(messages.into_iter(), failing, |_| ()).await?;
        }
        let routes = self.routes_messages(snapshot);
        self.send(routes, failing, |_| ()).await?;
        self.known = present;
        Ok(())
    }

    /// Subscribers know that a service has no instance any more.
    fn forget_gone(&mut self, sent: &[&Arc<Event>]) {
        let left = sent
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Deregistered | EventKind::Expired));
        for name in left.filter_map(|event| event.service_name.as_ref()) {
            let service = self.registry.service(name.as_str());
            if service.is_none_or(|service| service.view().instances.is_empty()) {
                self.known.remove(name);
            }
        }
    }

    fn failed(&self, failure: &Unconfirmed) -> DeliveryError {
        self.counts.failed();
        DeliveryError::Failed(failure.to_string().into())
    }
}

/// The message of an event on this channel, if it has one there.
fn outgoing(way: Channel, event: &Event, clock: &Clock) -> Option<Outgoing> {
    let key = match way {
        Channel::Health => names::health_key(event)?,
        Channel::Events | Channel::Discovery => names::event_key(event),
    };
    let message = DeliveryMessage::event(event, clock);
    let id = match way {
        Channel::Health => format!("{}-h", message.delivery),
        Channel::Events | Channel::Discovery => message.delivery,
    };
    let service_name = event.service_name.as_ref().map(|name| name.as_str());
    let service_id = event.service_id.as_ref().map(|id| id.as_str());
    let mut headers = headers(service_name, service_id);
    let revision = i64::try_from(event.revision.0).unwrap_or(i64::MAX);
    headers.put_long("revision", revision);
    Some(Outgoing {
        exchange: names::EXCHANGE,
        // A routing key has 255 bytes at most; names have 200.
        key: short(&key),
        body: message.body,
        properties: properties(&id, message.kind, event.timestamp, headers.build()),
    })
}

fn resync_messages(
    messages: Vec<DeliveryMessage>,
    key: &str,
    service: Option<&ServiceName>,
    taken_at: Timestamp,
) -> impl Iterator<Item = Outgoing> + use<> {
    let headers = headers(service.map(|name| name.as_str()), None).build();
    let key = short(key);
    messages.into_iter().map(move |message| Outgoing {
        exchange: names::EXCHANGE,
        key: key.clone(),
        body: message.body,
        properties: properties(&message.delivery, message.kind, taken_at, headers.clone()),
    })
}

fn headers(service_name: Option<&str>, service_id: Option<&str>) -> TableBuilder {
    let mut headers = TableBuilder::new();
    for (key, value) in [("service_name", service_name), ("service_id", service_id)] {
        if let Some(value) = value {
            headers.put_str(key, value);
        }
    }
    headers
}

fn properties(id: &str, kind: &'static str, timestamp: Timestamp, headers: Table) -> PropertyList {
    PropertyList {
        content_type: Some(JSON),
        delivery_mode: Some(names::PERSISTENT),
        message_id: Some(short(id)),
        kind: Some(ShortStr::from_static(kind)),
        timestamp: Some(u64::try_from(timestamp.0.div_euclid(1_000)).unwrap_or(0)),
        headers: Some(headers),
        ..PropertyList::default()
    }
}

impl Transport for Topics {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        let way = self.way;
        let wanted =
            |event: &&Arc<Event>| way != Channel::Health || names::health_key(event).is_some();
        let sent: Vec<_> = events.iter().filter(wanted).collect();
        if self.way == Channel::Events {
            let names = sent.iter().filter_map(|event| event.service_name.clone());
            self.known.extend(names);
            self.in_flight.left(sent.iter().map(|event| event.revision));
        }
        let clock = self.clock.clone();
        let messages = sent.iter().filter_map(|event| outgoing(way, event, &clock));
        let counts = self.counts.clone();
        let arrived = |at: usize| {
            counts.sent();
            progress.reached(sent[at]);
        };
        let sending = self.send(messages, progress.is_failing(), arrived).await;
        sending.map_err(|failure| self.failed(&failure))?;
        self.forget_gone(&sent);
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        // Channel health has changes only: the snapshots are on channel events.
        if self.way != Channel::Events {
            return Ok(());
        }
        let sending = self.send_state(snapshot, progress.is_failing()).await;
        sending.map_err(|failure| self.failed(&failure))?;
        // Events that the snapshot already covers are not sent again.
        let until = snapshot.state.covered_until();
        self.in_flight.resynced(until);
        self.watermark.raise(until);
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
