//! Views of the broker for pages and metrics.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{Broker, clock::VhostCell, connections::ConnectionView};
use crate::broker::{
    listing::{Gather, Listing, Wanted},
    queue::ConnectionId,
    vhost::{
        BindingView, ConsumerView, ExchangeView, MessageView, QueueSize, QueueView, VhostSample,
        VhostView,
    },
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
    /// Bytes held for clients.
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
        let (connections_opened, connections_closed) = shared.connections.counts();
        Overview {
            connections: shared.connections.len(),
            connections_opened,
            connections_closed,
            memory_bytes: shared.memory.used(),
            memory_high_bytes: shared.memory.high(),
            memory_alarm: shared.memory.is_alarm(),
            memory_alarms: shared.memory.alarms(),
            vhosts: shared
                .vhosts
                .values()
                .map(|cell| cell.lock().view())
                .collect(),
        }
    }

    /// Whether a connection is open; false before `closed_connections` gives its number.
    pub fn is_connected(&self, id: ConnectionId) -> bool {
        self.shared.connections.has(id)
    }

    /// Connections, by the names their clients gave them or by their addresses.
    pub fn connections(&self, wanted: &Wanted) -> Listing<ConnectionView> {
        let mut listing = Listing::new(wanted);
        self.shared.connections.views(wanted, &mut listing);
        listing
    }

    /// Channels, by the names of their connections.
    pub fn channels(&self, wanted: &Wanted) -> Listing<ChannelView> {
        let mut listing = Listing::new(wanted);
        for (name, cell) in self.wanted(wanted) {
            let vhost = cell.lock();
            for (_, channel) in vhost.channels() {
                let asked = !wanted.name.is_empty();
                let name_of = || self.shared.connections.name(channel.connection);
                let connection = asked.then(name_of).unwrap_or_default();
                listing.offer(&[connection.as_bytes()], || ChannelView {
                    vhost: name.clone(),
                    connection: channel.connection,
                    number: channel.number,
                    consumers: channel.consumers.len(),
                    messages_unacked: channel.unacked.len(),
                    unacked_bytes: channel.unacked_bytes,
                    prefetch: channel.prefetch,
                });
            }
        }
        listing
    }

    /// Exchanges.
    pub fn exchanges(&self, wanted: &Wanted) -> Listing<ExchangeView> {
        let mut listing = Listing::new(wanted);
        for (_, cell) in self.wanted(wanted) {
            cell.lock().exchanges(&mut listing);
        }
        listing
    }

    /// Queues.
    pub fn queues(&self, wanted: &Wanted) -> Listing<QueueView> {
        let mut listing = Listing::new(wanted);
        for (_, cell) in self.wanted(wanted) {
            cell.lock().queues(&mut listing);
        }
        listing
    }

    /// Bindings, by the names of both ends.
    pub fn bindings(&self, wanted: &Wanted) -> Listing<BindingView> {
        let mut listing = Listing::new(wanted);
        for (_, cell) in self.wanted(wanted) {
            cell.lock().bindings(&mut listing);
        }
        listing
    }

    /// Consumers, by their tags and the names of their queues.
    pub fn consumers(&self, wanted: &Wanted) -> Listing<ConsumerView> {
        let mut listing = Listing::new(wanted);
        for (_, cell) in self.wanted(wanted) {
            cell.lock().consumers(&mut listing);
        }
        listing
    }

    fn wanted<'a>(
        &'a self,
        wanted: &'a Wanted,
    ) -> impl Iterator<Item = (&'a String, &'a Arc<VhostCell>)> {
        let only = wanted.vhost.as_ref();
        let cells = self.shared.vhosts.iter();
        cells.filter(move |(name, _)| only.is_none_or(|only| only == *name))
    }

    /// The counters of every vhost and its queues, by the vhost's name.
    pub fn sample(&self) -> HashMap<String, VhostSample> {
        let cells = self.shared.vhosts.iter();
        cells
            .map(|(name, cell)| (name.clone(), cell.lock().sample()))
            .collect()
    }

    /// The queues that hold most, at most so many, the largest first.
    pub fn largest(&self, max: usize) -> Vec<QueueSize> {
        let mut sizes = Vec::new();
        for cell in self.shared.vhosts.values() {
            cell.lock().largest(max, &mut sizes);
        }
        sizes.sort_by_key(|size| std::cmp::Reverse(size.ready + size.unacked));
        sizes.truncate(max);
        sizes
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
        let cell = self.shared.vhosts.get(vhost)?;
        let mut vhost = cell.lock();
        let purged = vhost.force_purge(&name);
        cell.finish(vhost, &mut Vec::new(), 0);
        purged
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
        let Some(connection) = self.shared.connections.find(id) else {
            return false;
        };
        *connection.kick.lock() = Some(reason.to_owned());
        connection.peer.wake.notify_one();
        true
    }
}
