//! Class 50, `queue`: where messages wait.

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 50
    /// Client to server: makes a queue, or checks that it is there.
    10 Declare "queue.declare" [u16] {
        /// Its name; empty lets the server choose one.
        queue: ShortStr,
        /// Only check.
        passive: bool,
        /// Survives the broker.
        durable: bool,
        /// For this connection alone, and gone with it.
        exclusive: bool,
        /// Goes with its last consumer.
        auto_delete: bool,
        /// No answer wanted.
        nowait: bool,
        /// Further wishes.
        arguments: Table,
    } []
    /// Server to client: it is there.
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
        /// No answer wanted.
        nowait: bool,
        /// What a headers exchange compares.
        arguments: Table,
    } []
    /// Server to client: bound.
    21 BindOk "queue.bind-ok" [] {} []
    /// Client to server: drops every ready message.
    30 Purge "queue.purge" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// No answer wanted.
        nowait: bool,
    } []
    /// Server to client: dropped.
    31 PurgeOk "queue.purge-ok" [] {
        /// How many.
        message_count: u32,
    } []
    /// Client to server: removes a queue.
    40 Delete "queue.delete" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// Only when it has no consumer.
        if_unused: bool,
        /// Only when it has no message.
        if_empty: bool,
        /// No answer wanted.
        nowait: bool,
    } []
    /// Server to client: it is gone.
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
        /// What a headers exchange compared.
        arguments: Table,
    } []
    /// Server to client: unbound.
    51 UnbindOk "queue.unbind-ok" [] {} []
}
