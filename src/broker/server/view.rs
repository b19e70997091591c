//! What the broker shows of itself.

use serde::Serialize;

use super::{Broker, registry::ConnectionView};
use crate::broker::{
    queue::ConnectionId,
    vhost::{BindingView, ConsumerView, ExchangeView, MessageView, QueueView, VhostView},
    wire::ShortStr,
};

/// The broker in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    /// Open connections.
    pub connections: usize,
    /// Connections opened so far.
    pub connections_opened: u64,
    /// Connections closed so far.
    pub connections_closed: u64,
    /// Bytes of messages held.
    pub memory_bytes: usize,
    /// The mark above which publishers are blocked.
    pub memory_high_bytes: usize,
    /// Whether publishers are blocked.
    pub memory_alarm: bool,
    /// How often they were blocked so far.
    pub memory_alarms: u64,
    /// The virtual hosts.
    pub vhosts: Vec<VhostView>,
}

/// A channel.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelView {
    /// Its vhost.
    pub vhost: String,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its number.
    pub number: u16,
    /// How many consumers it has.
    pub consumers: usize,
    /// How many messages it holds.
    pub messages_unacked: usize,
    /// Their bodies, in bytes.
    pub unacked_bytes: usize,
    /// The limit for the whole channel; 0: none.
    pub prefetch: u32,
}

impl Broker {
    /// The broker in numbers.
    pub fn overview(&self) -> Overview {
        let shared = &self.shared;
        let (connections_opened, connections_closed) = shared.registry.counts();
        Overview {
            connections: shared.registry.len(),
            connections_opened,
            connections_closed,
            memory_bytes: shared.memory.used(),
            memory_high_bytes: shared.memory.high(),
            memory_alarm: shared.memory.alarm(),
            memory_alarms: shared.memory.alarms(),
            vhosts: shared
                .vhosts
                .values()
                .map(|cell| cell.lock().view())
                .collect(),
        }
    }

    /// All connections.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.shared.registry.views()
    }

    /// All channels.
    pub fn channels(&self) -> Vec<ChannelView> {
        let mut views = Vec::new();
        for (name, cell) in &self.shared.vhosts {
            let vhost = cell.lock();
            views.extend(vhost.channels().map(|(_, channel)| ChannelView {
                vhost: name.clone(),
                connection: channel.connection,
                number: channel.number,
                consumers: channel.consumers.len(),
                messages_unacked: channel.unacked.len(),
                unacked_bytes: channel.unacked_bytes,
                prefetch: channel.prefetch,
            }));
        }
        views
    }

    /// All exchanges.
    pub fn exchanges(&self) -> Vec<ExchangeView> {
        let mut views = Vec::new();
        self.shared
            .vhosts
            .values()
            .for_each(|cell| cell.lock().exchanges(&mut views));
        views
    }

    /// All queues.
    pub fn queues(&self) -> Vec<QueueView> {
        let mut views = Vec::new();
        self.shared
            .vhosts
            .values()
            .for_each(|cell| cell.lock().queues(&mut views));
        views
    }

    /// All bindings.
    pub fn bindings(&self) -> Vec<BindingView> {
        let mut views = Vec::new();
        self.shared
            .vhosts
            .values()
            .for_each(|cell| cell.lock().bindings(&mut views));
        views
    }

    /// All consumers.
    pub fn consumers(&self) -> Vec<ConsumerView> {
        let mut views = Vec::new();
        self.shared
            .vhosts
            .values()
            .for_each(|cell| cell.lock().consumers(&mut views));
        views
    }

    /// One queue, if it is there.
    pub fn queue(&self, vhost: &str, name: &str) -> Option<QueueView> {
        let name = ShortStr::copied(name.as_bytes())?;
        self.shared.vhosts.get(vhost)?.lock().queue(&name)
    }

    /// The first messages that wait in a queue, which stay there; nothing if there is no such queue.
    pub fn peek(&self, vhost: &str, name: &str, count: usize) -> Option<Vec<MessageView>> {
        let name = ShortStr::copied(name.as_bytes())?;
        self.shared.vhosts.get(vhost)?.lock().peek(&name, count)
    }

    /// Drops the messages that wait in a queue: how many; nothing if there is no such queue.
    pub fn purge(&self, vhost: &str, name: &str) -> Option<usize> {
        let name = ShortStr::copied(name.as_bytes())?;
        self.shared.vhosts.get(vhost)?.lock().force_purge(&name)
    }

    /// Deletes a queue: how many messages went with it; nothing if there is no such queue.
    pub fn delete(&self, vhost: &str, name: &str) -> Option<usize> {
        let name = ShortStr::copied(name.as_bytes())?;
        let cell = self.shared.vhosts.get(vhost)?;
        let mut vhost = cell.lock();
        let deleted = vhost.force_delete(&name);
        cell.finish(vhost, &mut Vec::new(), 0);
        deleted
    }

    /// Closes a connection with 320 and this reason; whether there is such a connection.
    pub fn close_connection(&self, id: ConnectionId, reason: &str) -> bool {
        let Some(entry) = self.shared.registry.find(id) else {
            return false;
        };
        *entry.kick.lock() = Some(reason.to_owned());
        entry.peer.wake.notify_one();
        true
    }
}
