//! The memory of queues, exchanges, bindings, consumers and channels, and the limit on all of them together.
//! Strings and tables have their real sizes; the rest are sizes of structs and of their places in tables.

use super::Vhost;
use crate::broker::{
    channel::{Consumer, ConsumerId, DeliveryChannel},
    exception::Exception,
    exchange::{Binding, BindingId, BindingKey, Exchange, ExchangeId, ExchangeKind},
    memory::{allocated, map_entry},
    queue::{Queue, QueueId, rotation::Rotation},
    wire::{ReplyCode, ShortStr},
};

/// The memory of a place in a slab: the slab is seldom full.
const fn slot<T>() -> usize {
    (size_of::<T>() + 8) * 5 / 4
}

/// The memory of an entry of an ordered map.
const fn ordered_entry<K, V>() -> usize {
    size_of::<(K, V)>() * 3 / 2
}

/// A queue without what is in it.
pub(super) fn of_queue(queue: &Queue) -> usize {
    let settings = &queue.settings;
    let dead_letter = [
        &settings.dead_letter_exchange,
        &settings.dead_letter_routing_key,
    ];
    let owned = if queue.owner.is_some() {
        map_entry::<u64, [usize; 3]>()
    } else {
        0
    };
    slot::<Queue>()
        + map_entry::<ShortStr, QueueId>()
        + queue.name.allocated()
        + allocated(queue.arguments.as_bytes().len())
        + dead_letter
            .into_iter()
            .flatten()
            .map(ShortStr::allocated)
            .sum::<usize>()
        + queue.ready.empty_bytes()
        + owned
}

/// An exchange without its bindings.
pub(super) fn of_exchange(exchange: &Exchange) -> usize {
    let alternate = exchange.alternate.as_ref();
    slot::<Exchange>()
        + map_entry::<ShortStr, ExchangeId>()
        + exchange.name.allocated()
        + allocated(exchange.arguments.as_bytes().len())
        + alternate.map_or(0, ShortStr::allocated)
}

/// A binding with its places at both ends, without what [`Exchange::routing_bytes`] counts.
pub(super) fn of_binding(binding: &Binding, kind: ExchangeKind) -> usize {
    let arguments = allocated(binding.arguments.as_bytes().len());
    slot::<Binding>()
        + ordered_entry::<BindingKey, BindingId>()
        + ordered_entry::<BindingId, ()>()
        + 2 * allocated(binding.key.arguments.len())
        + arguments
        + binding.key.routing_key.allocated()
        + Exchange::route_bytes(kind, arguments)
}

/// A consumer.
pub(super) fn of_consumer(consumer: &Consumer) -> usize {
    slot::<Consumer>()
        + ordered_entry::<ShortStr, ConsumerId>()
        + ordered_entry::<u64, ConsumerId>()
        + Rotation::ENTRY
        + consumer.tag.allocated()
        + allocated(consumer.arguments.as_bytes().len())
}

impl Vhost {
    /// Whether what is declared from now on is not limited: that of the program that embeds the broker, which
    /// clients must not keep out.
    pub fn exempt_from_topology(&mut self, exempt: bool) {
        self.exempt = exempt;
    }

    /// Refuses one more queue, exchange, binding, consumer or channel when all of them together take what
    /// they may: 506.
    pub(super) fn check_topology(&self) -> Result<(), Exception> {
        if self.exempt || !self.memory.is_topology_full() {
            return Ok(());
        }
        let text = format!(
            "queues, exchanges, bindings, consumers and channels may take {} bytes of \
             broker.limits.memory, and they do",
            self.memory.topology_max()
        );
        Err(Exception::new(ReplyCode::ResourceError, text))
    }

    /// Counts a channel; `session_bytes` is what its client's session keeps for it.
    pub(super) fn count_channel(&self, channel: &mut DeliveryChannel, session_bytes: usize) {
        let bytes = slot::<DeliveryChannel>() + session_bytes;
        channel.charge = self.memory.charge_topology(bytes);
    }
}
