//! The transport's interface to a message broker; it has two implementations.
//!
//! `transport::embedded` calls the broker in this process. `transport::rabbitmq` speaks AMQP 0-9-1 over a
//! network. Everything else in this room is written once against these traits.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AmqpError, ComparisonCounts, Link, dead::DeadLetters};
use crate::{
    broker::wire::{Properties, ShortStr, properties::PropertyList},
    model::FlagState,
};

/// The pseudo-queue of direct replies, and the `reply_to` of a request that is answered through it.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Called each time the broker has answered.
pub type Heard<'a> = &'a (dyn Fn() + Send + Sync);

/// A broker that can be connected to.
///
/// There is at most one connection at a time; `Link` makes it, watches it and makes the next one.
pub trait BrokerClient: fmt::Debug + Send + Sync {
    /// `embedded` or `external`, as GET /transport shows it.
    fn kind(&self) -> &'static str;

    /// Whether it is the broker in this process.
    fn is_embedded(&self) -> bool {
        self.kind() == "embedded"
    }

    /// Where the broker is, without a password.
    fn url(&self) -> String;

    /// Connects. The caller limits the time; a future that is dropped leaves no connection behind.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses the login or the vhost.
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn AmqpConnection>, AmqpError>>;

    /// Called after a connection was lost because of `error`, before the next one is made: removes what would
    /// end that one too. Calls `heard` when the broker answers. By default there is nothing to remove.
    fn repair<'a>(
        &'a self,
        _error: &'a AmqpError,
        _dead: &'a DeadLetters,
        _heard: Heard<'a>,
    ) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Runs beside the consumers of commands and sends the answers of [`AmqpChannel::answer`], if answers
    /// need a separate connection. By default they do not.
    fn run_answers(&self, _scope: AnswerScope) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// How many answers to commands could not be sent.
    fn answers_lost(&self) -> u64 {
        0
    }
}

/// One connection, until it is lost or closed.
pub trait AmqpConnection: fmt::Debug + Send + Sync {
    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is lost, or the broker allows no more channels.
    fn open(&self, purpose: Purpose) -> BoxFuture<'_, Result<Box<dyn AmqpChannel>, AmqpError>>;

    /// Whether the broker blocks publishers now. It still answers what is not a publish. If it can, it does not
    /// block channels for [`Purpose::Consume`] and [`Purpose::Replace`]: what they publish makes room.
    fn is_blocked(&self) -> bool;

    /// How many bytes of headers a message may have.
    fn headers_max(&self) -> usize;

    /// Watches the connection until it is lost, and returns why. Calls `heard` each time the broker has shown
    /// that it answers, at least once per `transport.amqp.ping` while all is well.
    fn until_lost<'a>(&'a self, heard: Heard<'a>) -> BoxFuture<'a, AmqpError>;

    /// Closes the connection after everything that was sent over it.
    ///
    /// # Errors
    /// It ended in another way.
    fn close(&self) -> BoxFuture<'_, Result<(), AmqpError>>;
}

/// A channel. One task owns it.
///
/// A channel that has returned an error is of no further use: it is dropped, and with it the confirms that are
/// still to come. Messages that its consumer holds are requeued. Other channels of the connection are not affected.
/// An operation that the broker does not answer within `transport.amqp.answer_timeout` fails; only
/// [`Self::confirmed`] and [`Self::next`] wait without a limit. Those two are cancel safe, the others are not.
pub trait AmqpChannel: fmt::Debug + Send {
    /// Whether the channel can still be used.
    fn is_open(&self) -> bool;

    /// Declares a durable topic exchange.
    ///
    /// # Errors
    /// An exchange of this name exists and is another one.
    fn declare_exchange(&mut self, name: &'static str) -> BoxFuture<'_, Result<(), AmqpError>>;

    /// Declares a queue and answers with its name.
    ///
    /// # Errors
    /// A queue of this name exists and is another one, or belongs to another connection.
    fn declare_queue(&mut self, queue: QueueSpec) -> BoxFuture<'_, Result<String, AmqpError>>;

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// One of the two does not exist.
    fn bind<'a>(
        &'a mut self,
        queue: &'a str,
        exchange: &'static str,
        key: &'static str,
    ) -> BoxFuture<'a, Result<(), AmqpError>>;

    /// Takes a message to be published. It leaves while [`Self::confirmed`] is polled, in order.
    fn publish(&mut self, message: Outgoing);

    /// Publishes what was taken and waits until more of it is confirmed, in order: how many messages. Over a
    /// channel without confirms a message counts when it was handed to the broker. 0 when nothing is left.
    /// Waits while the broker blocks publishers.
    ///
    /// # Errors
    /// The next message was refused, or the channel has ended.
    fn confirmed(&mut self) -> BoxFuture<'_, Result<usize, Unconfirmed>>;

    /// Sends answers to commands; waits until they are on their way, not until they have arrived. An address
    /// that a client made up harms neither this channel nor another command.
    ///
    /// # Errors
    /// The channel has ended.
    fn answer(&mut self, answers: Vec<Outgoing>) -> BoxFuture<'_, Result<(), AmqpError>>;

    /// Consumes a queue, or direct replies to requests over this channel.
    ///
    /// # Errors
    /// The queue does not exist, or another consumer has it alone.
    fn consume(&mut self, consume: Consume) -> BoxFuture<'_, Result<(), AmqpError>>;

    /// Waits for messages: those that are there, at least one. None when the consumer has ended.
    ///
    /// # Errors
    /// The channel has ended.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Delivery>>, AmqpError>>;

    /// Acknowledges a message, or all up to it.
    ///
    /// # Errors
    /// There is no such message, or the channel has ended.
    fn ack(&mut self, tag: u64, up_to: UpTo) -> BoxFuture<'_, Result<(), AmqpError>>;

    /// Ends the consumer. [`Self::next`] still gives what it was sent, then none.
    ///
    /// # Errors
    /// The channel has ended.
    fn cancel(&mut self) -> BoxFuture<'_, Result<(), AmqpError>>;

    /// Closes the channel after everything that was sent over it.
    ///
    /// # Errors
    /// It ended in another way.
    fn close(&mut self) -> BoxFuture<'_, Result<(), AmqpError>>;
}

/// The purpose of a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To declare, and to publish without confirms.
    Send,
    /// To publish with confirms.
    SendConfirmed,
    /// To consume, and to publish without confirms what answers that.
    Consume,
    /// To send requests and to get the direct replies.
    Ask,
    /// To publish, with confirms, what takes the place of messages that were consumed.
    Replace,
}

/// A queue as it is declared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QueueSpec {
    /// Its name; empty for one that the broker makes up.
    pub name: &'static str,
    /// For this connection alone, deleted with its last consumer. Otherwise it is durable.
    pub exclusive: bool,
    /// The most messages that it keeps, the last ones.
    pub messages_max: Option<i32>,
    /// The most bytes of bodies that it keeps.
    pub bytes_max: Option<i32>,
}

impl QueueSpec {
    /// How errors name it.
    pub(crate) fn what(&self) -> &'static str {
        if self.name.is_empty() {
            "queue.declare"
        } else {
            self.name
        }
    }
}

/// The queue to consume, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Consume {
    /// The queue; `amq.rabbitmq.reply-to` for direct replies.
    pub queue: String,
    /// The most messages that may be unacknowledged.
    pub prefetch: u16,
    /// Whether messages count as acknowledged when they are sent.
    pub no_ack: bool,
}

/// Which messages an acknowledgement covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpTo {
    /// This one alone.
    This,
    /// This one and all before it.
    All,
}

/// Until when answers to commands are sent, for a client with a separate connection for them.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "amqp"),
    expect(
        dead_code,
        reason = "the embedded broker sends answers over the same channel"
    )
)]
pub struct AnswerScope {
    /// The main connection.
    pub(crate) link: Link,
    /// The modes.
    pub(crate) flag: watch::Receiver<FlagState>,
    /// How many consumers of commands there are.
    pub(crate) consumers: watch::Receiver<usize>,
    /// The counters.
    pub(crate) counts: ComparisonCounts,
    /// Cancelled when the daemon stops.
    pub(crate) stop: CancellationToken,
}

/// A message on its way out.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The exchange; empty for the default one.
    pub exchange: &'static str,
    /// The routing key.
    pub key: ShortStr,
    /// Its properties.
    pub properties: PropertyList,
    /// Its body.
    pub body: Bytes,
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The delivery tag that acknowledges it.
    pub tag: u64,
    /// The routing key it was published with.
    pub key: ShortStr,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

/// Why a message was not confirmed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unconfirmed {
    /// The channel has ended.
    #[error("{0}")]
    Ended(#[from] AmqpError),
    /// A queue refused it.
    #[error("the broker refused it (basic.nack): a queue is full or has failed")]
    Refused,
}

impl Outgoing {
    /// A JSON message to an exchange, without further properties.
    pub fn json(exchange: &'static str, key: ShortStr, body: Bytes) -> Self {
        Self {
            exchange,
            key,
            properties: PropertyList {
                content_type: Some(JSON),
                ..PropertyList::default()
            },
            body,
        }
    }
}

/// The content type of everything that is sent.
pub(crate) const JSON: ShortStr = ShortStr::from_static("application/json");

/// A short string of text that is known to be short: names have at most 200 bytes. Longer text is cut.
pub(crate) fn short(text: &str) -> ShortStr {
    ShortStr::truncated(text)
}
