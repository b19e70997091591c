//! Class 50, `queue`: where messages wait.

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 50
    /// Client to server: declares a queue, or checks that it exists.
    10 Declare "queue.declare" [u16] {
        /// Its name; empty lets the server choose one.
        queue: ShortStr,
        /// Only check that it exists.
        passive: bool,
        /// Durable.
        durable: bool,
        /// For this connection only, and deleted with it.
        exclusive: bool,
        /// Deleted with its last consumer.
        auto_delete: bool,
        /// Whether the answer is omitted.
        nowait: bool,
        /// Further arguments.
        arguments: Table,
    } []
    /// Server to client: it exists.
    11 DeclareOk "queue.declare-ok" [] {
        /// Its name.
        queue: ShortStr,
        /// How many messages are ready in it.
        message_count: u32,
        /// How many consumers it has.
        consumer_count: u32,
    } []
    /// Client to server: an exchange feeds a queue.
    20 Bind "queue.bind" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// The exchange.
        exchange: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// Whether the answer is omitted.
        nowait: bool,
        /// The arguments that a headers exchange compares.
        arguments: Table,
    } []
    /// Server to client: bound.
    21 BindOk "queue.bind-ok" [] {} []
    /// Client to server: drops every ready message.
    30 Purge "queue.purge" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// Whether the answer is omitted.
        nowait: bool,
    } []
    /// Server to client: dropped.
    31 PurgeOk "queue.purge-ok" [] {
        /// How many.
        message_count: u32,
    } []
    /// Client to server: deletes a queue.
    40 Delete "queue.delete" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// Only when it has no consumer.
        if_unused: bool,
        /// Only when it has no message.
        if_empty: bool,
        /// Whether the answer is omitted.
        nowait: bool,
    } []
    /// Server to client: it was deleted.
    41 DeleteOk "queue.delete-ok" [] {
        /// How many messages went with it.
        message_count: u32,
    } []
    /// Client to server: an exchange no longer feeds a queue.
    50 Unbind "queue.unbind" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// The exchange.
        exchange: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// The arguments that a headers exchange compared.
        arguments: Table,
    } []
    /// Server to client: unbound.
    51 UnbindOk "queue.unbind-ok" [] {} []
}
