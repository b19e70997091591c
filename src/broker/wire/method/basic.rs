//! Class 60, `basic`: messages.

use super::spec::class;
use crate::broker::wire::{ShortStr, Table};

class! { 60
    /// Client to server: how many messages may be unacknowledged.
    10 Qos "basic.qos" [] {
        /// In bytes; not supported but for 0.
        prefetch_size: u32,
        /// In messages; 0 for no limit.
        prefetch_count: u16,
        /// For the channel; otherwise for each consumer to come.
        global: bool,
    } []
    /// Server to client: accepted.
    11 QosOk "basic.qos-ok" [] {} []
    /// Client to server: starts a consumer.
    20 Consume "basic.consume" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// The consumer's name; empty lets the server choose one.
        consumer_tag: ShortStr,
        /// Not what this connection published; ignored as RabbitMQ does.
        no_local: bool,
        /// Messages count as acknowledged when they are sent.
        no_ack: bool,
        /// No other consumer beside this one.
        exclusive: bool,
        /// Whether the answer is omitted.
        nowait: bool,
        /// Further arguments.
        arguments: Table,
    } []
    /// Server to client: the consumer was started.
    21 ConsumeOk "basic.consume-ok" [] {
        /// The consumer's name.
        consumer_tag: ShortStr,
    } []
    /// Either: a consumer ends.
    30 Cancel "basic.cancel" [] {
        /// The consumer's name.
        consumer_tag: ShortStr,
        /// Whether the answer is omitted.
        nowait: bool,
    } []
    /// Either: it has ended.
    31 CancelOk "basic.cancel-ok" [] {
        /// The consumer's name.
        consumer_tag: ShortStr,
    } []
    /// Client to server: a message, its content follows.
    40 Publish "basic.publish" [u16] {
        /// The exchange; empty for the default one.
        exchange: ShortStr,
        /// The routing key.
        routing_key: ShortStr,
        /// Send it back when it is routed to no queue.
        mandatory: bool,
        /// Send it back when no consumer is ready; not supported.
        immediate: bool,
    } []
    /// Server to client: a message that found no queue, its content follows.
    50 Return "basic.return" [] {
        /// Why, as a number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr,
        /// Where it was published.
        exchange: ShortStr,
        /// With which key.
        routing_key: ShortStr,
    } []
    /// Server to client: a message for a consumer, its content follows.
    60 Deliver "basic.deliver" [] {
        /// The consumer's name.
        consumer_tag: ShortStr,
        /// The tag that acknowledges it.
        delivery_tag: u64,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// Where it was published.
        exchange: ShortStr,
        /// With which key.
        routing_key: ShortStr,
    } []
    /// Client to server: one message please.
    70 Get "basic.get" [u16] {
        /// The queue; empty means the last one declared on this channel.
        queue: ShortStr,
        /// It counts as acknowledged when it is sent.
        no_ack: bool,
    } []
    /// Server to client: here is one, its content follows.
    71 GetOk "basic.get-ok" [] {
        /// The tag that acknowledges it.
        delivery_tag: u64,
        /// Whether it may have been delivered before.
        redelivered: bool,
        /// Where it was published.
        exchange: ShortStr,
        /// With which key.
        routing_key: ShortStr,
        /// How many are left.
        message_count: u32,
    } []
    /// Server to client: there is none.
    72 GetEmpty "basic.get-empty" [ShortStr] {} []
    /// Client to server: done with a delivery; server to client: a publish is safe.
    80 Ack "basic.ack" [] {
        /// Which.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
    } []
    /// Client to server: a delivery was not wanted.
    90 Reject "basic.reject" [] {
        /// Which.
        delivery_tag: u64,
        /// Back into the queue; otherwise dead-lettered.
        requeue: bool,
    } []
    /// Client to server: deliver again what is unacknowledged.
    100 RecoverAsync "basic.recover-async" [] {
        /// To anyone; otherwise to me, which is not supported.
        requeue: bool,
    } []
    /// Client to server: deliver again what is unacknowledged.
    110 Recover "basic.recover" [] {
        /// To anyone; otherwise to me, which is not supported.
        requeue: bool,
    } []
    /// Server to client: they are back in their queues.
    111 RecoverOk "basic.recover-ok" [] {} []
    /// Client to server: deliveries were not wanted; server to client: a publish failed.
    120 Nack "basic.nack" [] {
        /// Which.
        delivery_tag: u64,
        /// And all before it.
        multiple: bool,
        /// Back into the queue; otherwise dead-lettered.
        requeue: bool,
    } []
}
