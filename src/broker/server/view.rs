//! Views of the broker for pages and metrics.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::runtime::Handle;
use utoipa::ToSchema;

use super::{Broker, Shared, clock::VhostCell, connections::ConnectionView};
use crate::broker::{
    listing::{Listing, Wanted},
    local::{LocalError, LocalPublish},
    pages::MessageRates,
    queue::ConnectionId,
    vhost::{
        BindingView, ChannelView, ConsumerView, ExchangeView, Largest, MessageView, QueueSize,
        QueueView, Vhost, VhostSample, VhostView,
    },
    wire::ShortStr,
};

/// How often, and after which pauses, a deletion looks whether the queue is still stored.
const LEAVING_TRIES: usize = 1000;
const LEAVING_PAUSE: Duration = Duration::from_millis(5);

/// The broker in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerOverview)]
pub struct Overview {
    /// Open connections.
    pub connections: u64,
    /// Connections opened so far.
    pub connections_opened: u64,
    /// Connections closed so far.
    pub connections_closed: u64,
    /// Bytes of messages held.
    pub memory_bytes: u64,
    /// The mark above which publishers are blocked.
    pub memory_high_bytes: u64,
    /// True while publishers are blocked.
    pub memory_alarm: bool,
    /// How often they were blocked so far.
    pub memory_alarms: u64,
    /// Open channels.
    pub channels: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Bindings.
    pub bindings: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages that wait.
    pub messages_ready: u64,
    /// Messages that consumers hold.
    pub messages_unacked: u64,
    /// Of late.
    pub rates: MessageRates,
    /// Of the last ten minutes, oldest first, one for each 10 s.
    pub recent_rates: Vec<MessageRates>,
    /// The virtual hosts.
    pub vhosts: Vec<VhostView>,
}

/// How much of its limits a broker uses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BrokerUse {
    /// Open connections.
    pub connections: u64,
    /// The most there may be.
    pub connections_max: u64,
    /// Bytes of messages and topology held.
    pub memory_bytes: u64,
    /// Above this publishers are blocked.
    pub memory_max: u64,
}

/// Makes one part of a list: where the next part begins, if this was not the last.
type Part<T> = fn(&Shared, &mut Vhost, usize, &mut T) -> Option<usize>;

impl Shared {
    /// Has something made in parts, with a turn of the vhost for each.
    async fn in_parts<T>(&self, cell: &VhostCell, into: &mut T, part: Part<T>) {
        let mut from = part(self, &mut cell.lock(), 0, into);
        while let Some(at) = from {
            tokio::task::yield_now().await;
            from = part(self, &mut cell.lock(), at, into);
        }
    }

    fn cells<'a>(
        &'a self,
        only: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Arc<VhostCell>)> {
        let cells = self.vhosts.iter();
        cells.filter(move |(name, _)| only.is_none_or(|only| only == *name))
    }
}

/// Views of the broker are made on its own threads: the caller's threads never wait for the lock of a vhost. Once the
/// broker's threads have ended, every view is empty.
impl Broker {
    pub(super) async fn on_own_threads<T, F>(&self, make: impl FnOnce(Arc<Shared>) -> F) -> T
    where
        T: Default + Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let made = make(Arc::clone(&self.shared));
        let runtime = self.shared.runtime.clone().unwrap_or_else(Handle::current);
        let made = self.shared.views.spawn_on(made, &runtime);
        made.await.unwrap_or_default()
    }

    async fn list<T: Send + 'static>(&self, wanted: &Wanted, part: Part<Listing<T>>) -> Listing<T> {
        let wanted = wanted.clone();
        self.on_own_threads(async move |shared| {
            let mut listing = Listing::new(&wanted);
            for (_, cell) in shared.cells(wanted.vhost.as_deref()) {
                shared.in_parts(cell, &mut listing, part).await;
            }
            listing
        })
        .await
    }

    /// The broker in numbers.
    pub async fn overview(&self) -> Overview {
        self.on_own_threads(async |shared| {
            let mut vhosts = Vec::new();
            for cell in shared.vhosts.values() {
                let mut view = cell.lock().view();
                let sums: Part<VhostView> = |_, vhost, from, view| vhost.sums(from, view);
                shared.in_parts(cell, &mut view, sums).await;
                vhosts.push(view);
            }
            let (connections_opened, connections_closed) = shared.connections.counts();
            let sum = |of: fn(&VhostView) -> u64| vhosts.iter().map(of).sum();
            Overview {
                connections: shared.connections.len() as u64,
                connections_opened,
                connections_closed,
                memory_bytes: shared.memory.used() as u64,
                memory_high_bytes: shared.memory.high() as u64,
                memory_alarm: shared.memory.state().memory(),
                memory_alarms: shared.memory.alarms(),
                channels: sum(|vhost| vhost.channels),
                exchanges: sum(|vhost| vhost.exchanges),
                queues: sum(|vhost| vhost.queues),
                bindings: sum(|vhost| vhost.bindings),
                consumers: sum(|vhost| vhost.consumers),
                messages_ready: sum(|vhost| vhost.messages_ready),
                messages_unacked: sum(|vhost| vhost.messages_unacked),
                rates: MessageRates::default(),
                recent_rates: Vec::new(),
                vhosts,
            }
        })
        .await
    }

    /// Whether a connection is open; false before `closed_connections` gives its number.
    pub fn is_connected(&self, id: ConnectionId) -> bool {
        self.shared.connections.has(id)
    }

    /// Where the client of an open connection is.
    pub fn address_of(&self, id: ConnectionId) -> Option<SocketAddr> {
        Some(self.shared.connections.find(id)?.address)
    }

    /// Connections, by the names their clients gave them or by their addresses.
    pub async fn connections(&self, wanted: &Wanted) -> Listing<ConnectionView> {
        let wanted = wanted.clone();
        self.on_own_threads(async move |shared| {
            let mut listing = Listing::new(&wanted);
            shared.connections.views(&wanted, &mut listing);
            listing
        })
        .await
    }

    /// Channels, by the names of their connections.
    pub async fn channels(&self, wanted: &Wanted) -> Listing<ChannelView> {
        self.list(wanted, |shared, vhost, from, into| {
            vhost.channels(from, &|id| shared.connections.name(id), into)
        })
        .await
    }

    /// Exchanges.
    pub async fn exchanges(&self, wanted: &Wanted) -> Listing<ExchangeView> {
        self.list(wanted, |_, vhost, from, into| vhost.exchanges(from, into))
            .await
    }

    /// Queues.
    pub async fn queues(&self, wanted: &Wanted) -> Listing<QueueView> {
        self.list(wanted, |_, vhost, from, into| vhost.queues(from, into))
            .await
    }

    /// Bindings, by the names of both ends.
    pub async fn bindings(&self, wanted: &Wanted) -> Listing<BindingView> {
        self.list(wanted, |_, vhost, from, into| vhost.bindings(from, into))
            .await
    }

    /// Consumers, by their tags and the names of their queues.
    pub async fn consumers(&self, wanted: &Wanted) -> Listing<ConsumerView> {
        self.list(wanted, |_, vhost, from, into| vhost.consumers(from, into))
            .await
    }

    /// The counters of every vhost and its queues, by the vhost's name.
    pub async fn sample(&self) -> HashMap<String, VhostSample> {
        self.on_own_threads(async |shared| {
            let mut samples = HashMap::new();
            for (name, cell) in shared.cells(None) {
                let mut sample = VhostSample::default();
                let part: Part<VhostSample> = |_, vhost, from, sample| vhost.sample(from, sample);
                shared.in_parts(cell, &mut sample, part).await;
                samples.insert(name.clone(), sample);
            }
            samples
        })
        .await
    }

    /// The queues that hold most, at most so many, the largest first.
    pub async fn largest(&self, max: usize) -> Vec<QueueSize> {
        self.on_own_threads(async move |shared| {
            let mut largest = Largest::new(max);
            for (_, cell) in shared.cells(None) {
                let part: Part<Largest> = |_, vhost, from, largest| vhost.largest(from, largest);
                shared.in_parts(cell, &mut largest, part).await;
            }
            largest.into_sizes()
        })
        .await
    }

    /// Does something in one turn of a vhost; nothing if there is no such vhost, or nothing was done.
    async fn in_vhost<T: Send + 'static>(
        &self,
        vhost: &str,
        act: impl FnOnce(&Shared, &mut Vhost) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let cell = Arc::clone(self.shared.vhosts.get(vhost)?);
        self.on_own_threads(async move |shared| {
            let mut vhost = cell.lock();
            let done = act(&shared, &mut vhost);
            cell.finish(vhost, &mut Vec::new(), 0);
            done
        })
        .await
    }

    /// One queue, if it is there.
    pub async fn queue(&self, vhost: &str, name: &str) -> Option<QueueView> {
        let name = ShortStr::copied(name.as_bytes())?;
        self.in_vhost(vhost, move |_, vhost| vhost.queue(&name))
            .await
    }

    /// The first messages that wait in a queue, which stay there; nothing if there is no such queue.
    pub async fn peek(&self, vhost: &str, name: &str, count: usize) -> Option<Vec<MessageView>> {
        let name = ShortStr::copied(name.as_bytes())?;
        let messages = self
            .in_vhost(vhost, move |_, vhost| vhost.peek(&name, count))
            .await?;
        let messages = messages.iter();
        Some(
            messages
                .map(|(message, redelivered)| MessageView::new(message, *redelivered))
                .collect(),
        )
    }

    /// Publishes one message: whether at least one queue has it; nothing if there is no such vhost.
    pub async fn publish(
        &self,
        vhost: &str,
        message: LocalPublish,
    ) -> Option<Result<bool, LocalError>> {
        let client = self.local(vhost)?;
        self.on_own_threads(async move |_| Some(client.open().publish_one(message).await))
            .await
    }

    /// How much of its limits it uses. Takes no lock of a vhost.
    pub fn use_of_limits(&self) -> BrokerUse {
        let shared = &self.shared;
        BrokerUse {
            connections: shared.connections.len() as u64,
            connections_max: shared.connections.limit() as u64,
            memory_bytes: shared.memory.used() as u64,
            memory_max: shared.memory.high() as u64,
        }
    }

    /// Drops the messages that wait in a queue: how many; nothing if there is no such queue.
    pub async fn purge(&self, vhost: &str, name: &str) -> Option<usize> {
        let name = ShortStr::copied(name.as_bytes())?;
        self.in_vhost(vhost, move |shared, vhost| {
            vhost.force_purge(&name, shared.now())
        })
        .await
    }

    /// Deletes a queue: how many messages went with it; nothing if there is no such queue.
    pub async fn delete(&self, vhost: &str, name: &str) -> Option<usize> {
        let name = ShortStr::copied(name.as_bytes())?;
        let deleted = self.in_vhost(vhost, move |shared, vhost| {
            vhost.force_delete(&name, shared.now())
        });
        let deleted = deleted.await?;
        for _ in 0..LEAVING_TRIES {
            let leaving = self.in_vhost(vhost, |_, vhost| Some(vhost.leaving_queues()));
            if leaving.await == Some(0) {
                break;
            }
            tokio::time::sleep(LEAVING_PAUSE).await;
        }
        if let Some(stores) = self.shared.stores.get() {
            stores.until_committed().await;
        }
        Some(deleted)
    }

    /// Closes a connection with 320 and this reason; whether there is such a connection.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let Some(connection) = self.shared.connections.find(id) else {
            return false;
        };
        *connection.kick.lock() = Some(reason.to_owned());
        connection.peer.wake.notify_one();
        true
    }
}
