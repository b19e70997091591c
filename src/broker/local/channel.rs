//! One channel of a client in the same process. One task owns it; it ends when it is dropped.

mod operator;
mod single;

use std::{collections::VecDeque, sync::Arc};

use tokio::task::yield_now;

pub use self::operator::AfterGet;
use super::{LocalClient, LocalError, LocalPublish, Received, ReceivedMessage};
use crate::broker::{
    auth::Grant,
    config::bytes,
    peer::Peer,
    server::LocalConnection,
    session::{Context, Session, SessionIdentity, SessionLimits},
    wire::{
        Method, ShortStr, Table,
        method::{basic, channel as wire_channel, exchange, modes, queue},
    },
};

/// The number of its only channel.
const NUMBER: u16 = 1;
/// How many messages are published before others have the vhost.
const TURN_MAX: usize = 64;
/// The user that its permissions belong to.
const USER: &str = "broker-internal";

/// A channel.
#[derive(Debug)]
pub struct LocalChannel {
    client: LocalClient,
    pub(super) peer: Arc<Peer>,
    session: Session,
    dirty: Vec<Arc<Peer>>,
    /// Taken from the outbox and not looked at yet: scratch.
    received: VecDeque<Received>,
    messages: VecDeque<ReceivedMessage>,
    answers: VecDeque<Method>,
    /// Not published yet.
    unpublished: VecDeque<LocalPublish>,
    /// Published and not confirmed yet.
    unconfirmed: usize,
    /// Confirmed and not reported yet.
    confirmed: usize,
    /// The last publish that was confirmed.
    last_confirmed: u64,
    confirms: bool,
    /// Whether the memory alarm does not block its publishes.
    pub(super) exempt: bool,
    refused: bool,
    /// Whether what is routed to no queue is returned.
    mandatory: bool,
    /// Whether a publish came back.
    returned: bool,
    consumer: Option<ShortStr>,
    cancelled: bool,
    /// Whether the consumer has more than was taken the last time.
    busy: bool,
    /// Whether something that was asked for takes more turns.
    settling: bool,
    /// Whether it waits for the store, which then wakes us.
    parked: bool,
    closed: Option<LocalError>,
    /// The message of the last basic.get.
    content: Option<ReceivedMessage>,
    /// Whether the limits of clients hold.
    limited: bool,
}

impl LocalChannel {
    pub(super) fn open(client: LocalClient) -> Self {
        let grant = Grant::all(USER, &client.vhost_name);
        Self::begin(client, grant, false)
    }

    /// A channel of a user, with the limits of clients.
    pub(super) fn open_with(client: LocalClient, grant: Grant) -> Self {
        Self::begin(client, grant, true)
    }

    fn begin(client: LocalClient, grant: Grant, limited: bool) -> Self {
        let limits = &client.shared.config.limits;
        let id = client.shared.next_connection();
        let peer = Arc::new(Peer::local(id, bytes(limits.outbox_per_connection.get())));
        let identity = SessionIdentity {
            connection: id,
            grant,
        };
        let limits = SessionLimits {
            channel_max: NUMBER,
            message_bytes: match limited {
                true => client.shared.config.limits.message_size.as_u64(),
                false => u64::MAX,
            },
            tx_bytes: 0,
        };
        let session = Session::new(Arc::clone(&peer), identity, limits);
        let session = match limited {
            true => session.unstamped(),
            false => session.of_the_process(),
        };
        client.shared.connections.add_local(LocalConnection {
            peer: Arc::clone(&peer),
            user: USER,
            vhost: Arc::clone(&client.vhost_name),
            connected_at: client.shared.now().unix_s(),
        });
        let mut channel = Self {
            client,
            peer,
            session,
            dirty: Vec::new(),
            received: VecDeque::new(),
            messages: VecDeque::new(),
            answers: VecDeque::new(),
            unpublished: VecDeque::new(),
            unconfirmed: 0,
            confirmed: 0,
            last_confirmed: 0,
            confirms: false,
            exempt: false,
            refused: false,
            mandatory: false,
            returned: false,
            consumer: None,
            cancelled: false,
            busy: false,
            settling: false,
            parked: false,
            closed: None,
            content: None,
            limited,
        };
        channel.turn(|session, context| session.open_local(NUMBER, context));
        channel
    }

    /// Whether it can still be used.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Declares a durable exchange.
    ///
    /// # Errors
    /// It exists with other properties, or there are too many.
    pub async fn declare_exchange(
        &mut self,
        name: ShortStr,
        kind: ShortStr,
    ) -> Result<(), LocalError> {
        let declare = exchange::Declare {
            exchange: name,
            kind,
            durable: true,
            ..exchange::Declare::default()
        };
        self.call(declare).await.map(drop)
    }

    /// `queue.declare`: the queue's name.
    ///
    /// # Errors
    /// It exists with other properties, or there are too many.
    pub async fn declare_queue(&mut self, declare: queue::Declare) -> Result<ShortStr, LocalError> {
        match self.call(declare).await? {
            Method::QueueDeclareOk(declared) => Ok(declared.queue),
            _ => Ok(ShortStr::EMPTY),
        }
    }

    /// `queue.bind`, without arguments.
    ///
    /// # Errors
    /// There is no such exchange or queue, or there are too many bindings.
    pub async fn bind(
        &mut self,
        queue: ShortStr,
        exchange: ShortStr,
        routing_key: ShortStr,
    ) -> Result<(), LocalError> {
        let bind = queue::Bind {
            queue,
            exchange,
            routing_key,
            ..queue::Bind::default()
        };
        self.call(bind).await.map(drop)
    }

    /// From now on a publish counts when every queue has it, not when it was handed over.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn select_confirms(&mut self) -> Result<(), LocalError> {
        self.call(modes::ConfirmSelect::default()).await?;
        self.confirms = true;
        Ok(())
    }

    /// Consumes a queue, holding at most so many unacknowledged messages; 0 for no limit.
    ///
    /// # Errors
    /// There is no such queue, or it is another's alone.
    pub async fn consume(
        &mut self,
        queue: ShortStr,
        prefetch: u16,
        no_ack: bool,
    ) -> Result<(), LocalError> {
        let qos = basic::Qos {
            prefetch_count: prefetch,
            ..basic::Qos::default()
        };
        self.call(qos).await?;
        let consume = basic::Consume {
            queue,
            no_ack,
            arguments: Table::EMPTY,
            ..basic::Consume::default()
        };
        if let Method::BasicConsumeOk(consuming) = self.call(consume).await? {
            self.consumer = Some(consuming.consumer_tag);
        }
        Ok(())
    }

    /// Ends the consumer; [`Self::next`] still gives what it was sent.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn cancel(&mut self) -> Result<(), LocalError> {
        if let Some(consumer_tag) = self.consumer.take() {
            let cancel = basic::Cancel {
                consumer_tag,
                ..basic::Cancel::default()
            };
            self.call(cancel).await?;
        }
        self.cancelled = true;
        Ok(())
    }

    /// Waits for messages: the next ones, at most `max`; none when the consumer has ended. Cancel safe.
    ///
    /// # Errors
    /// The channel is closed.
    pub async fn next(&mut self, max: usize) -> Result<Option<Vec<ReceivedMessage>>, LocalError> {
        if std::mem::take(&mut self.busy) {
            // Others on this thread have a turn too.
            yield_now().await;
        }
        loop {
            if self.messages.is_empty() {
                self.receive();
            }
            if !self.messages.is_empty() {
                let count = self.messages.len().min(max);
                self.busy = count == max;
                return Ok(Some(self.messages.drain(..count).collect()));
            }
            self.check_open()?;
            if self.cancelled {
                return Ok(None);
            }
            self.wait().await;
        }
    }

    /// Acknowledges a message, or all up to it.
    ///
    /// # Errors
    /// There is no such message.
    pub async fn ack(&mut self, delivery_tag: u64, multiple: bool) -> Result<(), LocalError> {
        let ack = basic::Ack {
            delivery_tag,
            multiple,
        };
        self.turn(|session, context| session.on_local_method(NUMBER, ack.into(), context));
        self.receive();
        while self.settling {
            self.wait().await;
        }
        self.check_open()
    }

    /// Takes a message that [`Self::confirmed`] publishes.
    pub fn publish(&mut self, message: LocalPublish) {
        self.unpublished.push_back(message);
    }

    /// Publishes what was taken, as soon as publishers are not blocked, and waits until more of it counts: how
    /// much. 0 when there is nothing left. Cancel safe.
    ///
    /// # Errors
    /// A queue refused a message, or the channel is closed. The confirms before it were reported first.
    pub async fn confirmed(&mut self) -> Result<usize, LocalError> {
        loop {
            self.receive();
            if self.confirmed > 0 {
                return Ok(std::mem::take(&mut self.confirmed));
            }
            if std::mem::take(&mut self.refused) {
                return Err(LocalError::Refused);
            }
            self.check_open()?;
            if self.settling {
                self.wait().await;
            } else if !self.unpublished.is_empty() {
                if !self.exempt {
                    self.client.until_unblocked().await;
                }
                self.publish_some();
                if !self.unpublished.is_empty() {
                    // Others on this thread have a turn too.
                    yield_now().await;
                }
            } else if self.unconfirmed == 0 {
                return Ok(0);
            } else {
                self.wait().await;
            }
        }
    }

    /// One turn of publishes.
    fn publish_some(&mut self) {
        let mut unpublished = std::mem::take(&mut self.unpublished);
        let (mut count, mandatory) = (0, self.mandatory);
        self.turn(|session, context| {
            // Methods after one that takes more than one turn have to wait.
            while count < TURN_MAX
                && !session.is_busy(context.vhost)
                && !context.vhost.is_turn_over()
                && let Some(message) = unpublished.pop_front()
            {
                count += 1;
                let publish = basic::Publish {
                    exchange: message.exchange,
                    routing_key: message.routing_key,
                    mandatory,
                    ..basic::Publish::default()
                };
                session.on_local_publish(
                    NUMBER,
                    publish,
                    message.properties,
                    message.body,
                    context,
                );
            }
        });
        self.unpublished = unpublished;
        match self.confirms {
            true => self.unconfirmed += count,
            false => self.confirmed += count,
        }
    }

    /// Asks, and waits for the answer.
    async fn call(&mut self, method: impl Into<Method>) -> Result<Method, LocalError> {
        let method = method.into();
        while self.settling {
            self.wait().await;
        }
        self.check_open()?;
        self.turn(|session, context| session.on_local_method(NUMBER, method, context));
        loop {
            self.receive();
            if let Some(answer) = self.answers.pop_front() {
                return Ok(answer);
            }
            self.check_open()?;
            self.wait().await;
        }
    }

    fn check_open(&self) -> Result<(), LocalError> {
        match &self.closed {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// Waits until there may be something to receive. Cancel safe.
    async fn wait(&mut self) {
        if self.parked || !self.settling {
            self.peer.wake.notified().await;
        } else {
            yield_now().await;
        }
        if self.settling {
            self.turn(|_, _| ());
            self.receive();
        }
    }

    /// One turn with the vhost. What it has for us is found by [`Self::receive`].
    fn turn(&mut self, act: impl FnOnce(&mut Session, &mut Context<'_>)) {
        let now = self.client.shared.now();
        let mut vhost = self.client.vhost.lock();
        let mut context = Context {
            vhost: &mut vhost,
            now,
        };
        context.vhost.exempt_from_topology(!self.limited);
        act(&mut self.session, &mut context);
        context.vhost.exempt_from_topology(false);
        self.session.end_batch();
        let more = vhost.pump(now);
        self.settling = self.session.is_busy(&vhost);
        self.parked = self.settling && self.session.is_parked(&vhost);
        let own = self.peer.id;
        self.client.vhost.finish(vhost, &mut self.dirty, own);
        if more {
            self.client.vhost.leave_rest();
        }
    }

    /// Takes what the outbox has.
    fn receive(&mut self) {
        loop {
            let resume = self.peer.outbox.take_received(&mut self.received);
            while let Some(received) = self.received.pop_front() {
                match received {
                    Received::Message(message) => self.messages.push_back(message),
                    Received::Method(method) => self.note(*method),
                    Received::WithMessage(method, message) => self.note_with(*method, message),
                }
            }
            if !resume {
                return;
            }
            // There is room again for what could not be delivered.
            self.turn(|session, context| session.resume(context));
        }
    }

    fn note_with(&mut self, method: Method, message: ReceivedMessage) {
        match method {
            Method::BasicReturn(_) => self.returned = true,
            method => {
                self.content = Some(message);
                self.answers.push_back(method);
            }
        }
    }

    fn note(&mut self, method: Method) {
        match method {
            Method::BasicAck(ack) if !self.refused => {
                let more = ack.delivery_tag.saturating_sub(self.last_confirmed);
                let more = usize::try_from(more).unwrap_or(usize::MAX);
                self.last_confirmed = ack.delivery_tag;
                self.confirmed += more;
                self.unconfirmed = self.unconfirmed.saturating_sub(more);
            }
            Method::BasicAck(_) => (),
            Method::BasicNack(_) => self.refused = true,
            Method::BasicCancel(_) => self.cancelled = true,
            Method::ChannelClose(wire_channel::Close {
                reply_code: code,
                reply_text,
                ..
            }) => {
                let text = reply_text.to_string();
                self.closed = Some(LocalError::Closed { code, text });
            }
            Method::ConnectionClose(close) => {
                let (code, text) = (close.reply_code, close.reply_text.to_string());
                self.closed = Some(LocalError::Closed { code, text });
            }
            answer => self.answers.push_back(answer),
        }
    }
}

impl Drop for LocalChannel {
    /// Requeues its unacknowledged deliveries and deletes its exclusive queues.
    fn drop(&mut self) {
        self.turn(|session, context| session.end(context));
        if self.settling {
            self.client.vhost.leave_rest();
        }
        self.peer.outbox.close();
        self.client.shared.connections.remove_local(self.peer.id);
    }
}
