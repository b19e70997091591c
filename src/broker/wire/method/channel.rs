//! Class 20, `channel`: conversations within a connection.

use bytes::Bytes;

use super::spec::class;
use crate::broker::wire::ShortStr;

class! { 20
    /// Client to server: opens the channel.
    10 Open "channel.open" [ShortStr] {} []
    /// Server to client: the channel is open.
    11 OpenOk "channel.open-ok" [Bytes] {} []
    /// Either: stop or continue sending content.
    20 Flow "channel.flow" [] {
        /// Whether content may flow.
        active: bool,
    } []
    /// Either: done as asked.
    21 FlowOk "channel.flow-ok" [] {
        /// Whether content may flow.
        active: bool,
    } []
    /// Either: the channel ends.
    40 Close "channel.close" [] {
        /// Why, as a number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr,
        /// The class of the method at fault, or 0.
        class_id: u16,
        /// The method at fault, or 0.
        method_id: u16,
    } []
    /// Either: the answer to close.
    41 CloseOk "channel.close-ok" [] {} []
}
