//! Class 40, `exchange`: where messages are published, and how exchanges feed each other.

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 40
    /// Client to server: declares an exchange, or checks that it exists.
    10 Declare "exchange.declare" [u16] {
        /// Its name.
        exchange: ShortStr,
        /// Its type: direct, fanout, topic, headers.
        kind: ShortStr,
        /// Only check that it exists.
        passive: bool,
        /// Durable.
        durable: bool,
        /// Deleted with its last binding.
        auto_delete: bool,
        /// Only other exchanges may publish to it.
        internal: bool,
        /// Whether the answer is omitted.
        nowait: bool,
        /// Further arguments.
        arguments: Table,
    } []
    /// Server to client: it exists.
    11 DeclareOk "exchange.declare-ok" [] {} []
    /// Client to server: deletes an exchange.
    20 Delete "exchange.delete" [u16] {
        /// Its name.
        exchange: ShortStr,
        /// Only when nothing is bound to it.
        if_unused: bool,
        /// Whether the answer is omitted.
        nowait: bool,
    } []
    /// Server to client: it was deleted.
    21 DeleteOk "exchange.delete-ok" [] {} []
    /// Client to server: one exchange feeds another.
    30 Bind "exchange.bind" [u16] {
        /// The exchange that is fed.
        destination: ShortStr,
        /// The exchange that feeds.
        source: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// Whether the answer is omitted.
        nowait: bool,
        /// The arguments that a headers exchange compares.
        arguments: Table,
    } []
    /// Server to client: bound.
    31 BindOk "exchange.bind-ok" [] {} []
    /// Client to server: no longer.
    40 Unbind "exchange.unbind" [u16] {
        /// The exchange that was fed.
        destination: ShortStr,
        /// The exchange that fed it.
        source: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// Whether the answer is omitted.
        nowait: bool,
        /// The arguments that a headers exchange compared.
        arguments: Table,
    } []
    /// Server to client: unbound. Its number is 51, not 41.
    51 UnbindOk "exchange.unbind-ok" [] {} []
}
