//! Class 40, `exchange`: where messages are published, and how exchanges feed each other.

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 40
    /// Client to server: makes an exchange, or checks that it is there.
    10 Declare "exchange.declare" [u16] {
        /// Its name.
        exchange: ShortStr,
        /// Its type: direct, fanout, topic, headers.
        kind: ShortStr,
        /// Only check.
        passive: bool,
        /// Survives the broker.
        durable: bool,
        /// Goes with its last binding.
        auto_delete: bool,
        /// Only other exchanges may publish to it.
        internal: bool,
        /// No answer wanted.
        nowait: bool,
        /// Further wishes.
        arguments: Table,
    } []
    /// Server to client: it is there.
    11 DeclareOk "exchange.declare-ok" [] {} []
    /// Client to server: removes an exchange.
    20 Delete "exchange.delete" [u16] {
        /// Its name.
        exchange: ShortStr,
        /// Only when nothing is bound to it.
        if_unused: bool,
        /// No answer wanted.
        nowait: bool,
    } []
    /// Server to client: it is gone.
    21 DeleteOk "exchange.delete-ok" [] {} []
    /// Client to server: one exchange feeds another.
    30 Bind "exchange.bind" [u16] {
        /// The exchange that is fed.
        destination: ShortStr,
        /// The exchange that feeds.
        source: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// No answer wanted.
        nowait: bool,
        /// What a headers exchange compares.
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
        /// No answer wanted.
        nowait: bool,
        /// What a headers exchange compared.
        arguments: Table,
    } []
    /// Server to client: unbound. Its number is 51, not 41.
    51 UnbindOk "exchange.unbind-ok" [] {} []
}
