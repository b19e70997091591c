//! Messages: one on its way in, and one that is kept, shared by every queue it was routed to.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    memory::{Charge, Memory, SHARED_BODY_MIN, allocated},
    message_log::MessageHead,
    wire::{Properties, ShortStr},
};

/// The memory of a kept message beyond its bytes: its struct behind a counted pointer.
const OVERHEAD: usize = allocated(size_of::<Message>() + 16);

/// A message that is kept.
#[derive(Debug)]
pub struct Message {
    /// The exchange it was published to.
    pub exchange: ShortStr,
    /// The routing key it was published with.
    pub routing_key: ShortStr,
    /// Its properties, as they came.
    pub properties: Properties,
    /// Its body, as it came.
    pub body: Bytes,
    /// Its priority; the queue caps it.
    pub priority: u8,
    /// Whether delivery-mode is 2.
    pub persistent: bool,
    /// Its TTL in a queue, in ms.
    pub ttl: Option<u64>,
    /// The keys of its header BCC, which is never delivered: a dead letter is routed by them too.
    pub hidden_keys: Option<Arc<[ShortStr]>>,
    /// Where and why it died before.
    pub deaths: Option<Arc<[Death]>>,
    charge: Charge,
}

/// A message died in a queue for a reason, once or more often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Death {
    /// The queue.
    pub queue: ShortStr,
    /// The reason.
    pub reason: DeathReason,
    /// How often.
    pub count: u64,
    /// The exchange it had been published to.
    pub exchange: ShortStr,
    /// The routing keys it had been published with.
    pub routing_keys: Vec<ShortStr>,
    /// The expiration it had then.
    pub expiration: Option<ShortStr>,
    /// When it first died so, in seconds since 1970.
    pub time: u64,
}

/// Why a message was dead-lettered or dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeathReason {
    /// A consumer rejected it without requeue.
    Rejected,
    /// Its time to live was over.
    Expired,
    /// The queue was full.
    MaxLen,
    /// It was redelivered more often than `x-delivery-limit` allows.
    DeliveryLimit,
}

impl Death {
    /// Its memory cost.
    fn bytes(&self) -> usize {
        let keys = self.routing_keys.iter();
        size_of::<Self>()
            + self.queue.allocated()
            + self.exchange.allocated()
            + keys
                .map(|key| size_of::<ShortStr>() + key.allocated())
                .sum::<usize>()
    }
}

impl DeathReason {
    /// Its name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLen => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// The parts of a message for an encoder.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The exchange it was published to.
    pub exchange: &'a ShortStr,
    /// The routing key it was published with.
    pub routing_key: &'a ShortStr,
    /// Its properties.
    pub properties: &'a Properties,
    /// Its body.
    pub body: &'a Bytes,
    /// Whether the body, if it is long, has a separate charge.
    pub body_charged: bool,
}

impl Message {
    /// A message as it was stored.
    pub fn stored(head: MessageHead, body: Bytes, memory: &Arc<Memory>) -> Arc<Self> {
        let message = Self {
            exchange: head.exchange,
            routing_key: head.routing_key,
            properties: head.properties,
            body: owned_body(body.into(), memory),
            priority: head.priority,
            persistent: true,
            ttl: head.ttl,
            hidden_keys: head.hidden_keys,
            deaths: head.deaths,
            charge: Charge::default(),
        };
        message.counted(memory)
    }

    /// The same, counted as long as it is kept.
    fn counted(mut self, memory: &Arc<Memory>) -> Arc<Self> {
        self.charge = memory.charge(self.bytes());
        Arc::new(self)
    }

    /// Its memory cost, without a body that has a separate charge.
    pub fn bytes(&self) -> usize {
        let deaths = self.deaths.iter().flat_map(|deaths| &**deaths);
        let hidden_keys = self.hidden_keys.iter().flat_map(|keys| &**keys);
        OVERHEAD
            + uncharged(&self.body)
            + allocated(self.properties.as_bytes().len())
            + self.routing_key.allocated()
            + deaths.map(Death::bytes).sum::<usize>()
            + hidden_keys
                .map(|key| size_of::<ShortStr>() + key.allocated())
                .sum::<usize>()
    }

    /// Its content.
    pub fn content(&self) -> Content<'_> {
        Content {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: &self.properties,
            body: &self.body,
            body_charged: true,
        }
    }
}

/// A message on its way in. Its parts are slices of the buffer they were read into; they are copied,
/// once, only if a queue has to keep the message.
#[derive(Debug)]
pub struct InboundMessage {
    /// The exchange it was published to.
    pub exchange: ShortStr,
    /// The routing key it was published with.
    pub routing_key: ShortStr,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
    /// Whether the body is a separate allocation of exact size, with a separate charge if it is long.
    pub body_owned: bool,
    /// Its priority.
    pub priority: u8,
    /// Whether delivery-mode is 2.
    pub persistent: bool,
    /// Its TTL in a queue, in ms.
    pub ttl: Option<u64>,
    /// More keys to route it by, from the headers CC and BCC.
    pub extra_keys: Vec<ShortStr>,
    /// Those of them that are from BCC.
    pub hidden_keys: Option<Arc<[ShortStr]>>,
    /// Where and why it died before: only a dead letter has.
    pub deaths: Option<Arc<[Death]>>,
    kept: Option<Arc<Message>>,
}

impl InboundMessage {
    /// A message without any special property.
    pub fn new(
        exchange: ShortStr,
        routing_key: ShortStr,
        properties: Properties,
        body: Bytes,
    ) -> Self {
        Self {
            exchange,
            routing_key,
            properties,
            body,
            body_owned: false,
            priority: 0,
            persistent: false,
            ttl: None,
            extra_keys: Vec::new(),
            hidden_keys: None,
            deaths: None,
            kept: None,
        }
    }

    /// The routing key, then the further ones.
    pub fn key(&self, index: usize) -> Option<&ShortStr> {
        match index.checked_sub(1) {
            None => Some(&self.routing_key),
            Some(index) => self.extra_keys.get(index),
        }
    }

    /// The copy that queues keep, if any does.
    pub fn kept(&self) -> Option<&Arc<Message>> {
        self.kept.as_ref()
    }

    /// Takes the message out and leaves an empty one.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let empty = Self::new(
            ShortStr::EMPTY,
            ShortStr::EMPTY,
            Properties::NONE,
            Bytes::new(),
        );
        std::mem::replace(self, empty)
    }

    /// Its content.
    pub fn content(&self) -> Content<'_> {
        match &self.kept {
            Some(message) => message.content(),
            None => Content {
                exchange: &self.exchange,
                routing_key: &self.routing_key,
                properties: &self.properties,
                body: &self.body,
                body_charged: self.body_owned,
            },
        }
    }

    /// The message to keep: one copy, however many queues keep it. `known_key` is a string that stays in
    /// memory anyway; it is shared when it equals the routing key.
    pub fn keep(&mut self, memory: &Arc<Memory>, known_key: &ShortStr) -> Arc<Message> {
        if let Some(message) = &self.kept {
            return Arc::clone(message);
        }
        let routing_key = if self.routing_key == *known_key {
            known_key.clone()
        } else {
            self.routing_key.detached()
        };
        self.own_body(memory);
        let body = self.body.clone();
        let properties = self.properties.detached();
        let deaths = self.deaths.clone();
        let message = Message {
            exchange: self.exchange.clone(),
            routing_key,
            properties,
            body,
            priority: self.priority,
            persistent: self.persistent,
            ttl: self.ttl,
            hidden_keys: self.hidden_keys.clone(),
            deaths,
            charge: Charge::default(),
        };
        let message = message.counted(memory);
        self.kept = Some(Arc::clone(&message));
        message
    }

    /// Copies all slices of a read buffer, to be kept outside of a queue (a transaction's publishes). Returns
    /// the bytes that it takes, without a body that has a separate charge.
    pub fn detach(&mut self, memory: &Arc<Memory>) -> usize {
        self.exchange = self.exchange.detached();
        self.routing_key = self.routing_key.detached();
        self.properties = self.properties.detached();
        for key in &mut self.extra_keys {
            *key = key.detached();
        }
        self.own_body(memory);
        self.bytes()
    }

    /// Its memory cost without slices of a read buffer and without a body that has a separate charge.
    pub fn bytes(&self) -> usize {
        let keys = self.extra_keys.iter();
        let deaths = self.deaths.iter().flat_map(|deaths| &**deaths);
        size_of::<Self>()
            + uncharged(&self.body)
            + allocated(self.properties.as_bytes().len())
            + self.exchange.allocated()
            + self.routing_key.allocated()
            + keys
                .map(|key| size_of::<ShortStr>() + key.allocated())
                .sum::<usize>()
            + deaths.map(Death::bytes).sum::<usize>()
    }

    /// Gives the body a separate allocation.
    fn own_body(&mut self, memory: &Arc<Memory>) {
        if !self.body_owned {
            self.body = owned_body(self.body.to_vec(), memory);
            self.body_owned = true;
        }
    }
}

/// A body in a separate allocation; a long one has a separate charge.
pub fn owned_body(body: Vec<u8>, memory: &Arc<Memory>) -> Bytes {
    if body.len() < SHARED_BODY_MIN {
        Bytes::from(body)
    } else {
        memory.charged_body(body)
    }
}

/// The cost of a body without a separate charge.
fn uncharged(body: &Bytes) -> usize {
    if body.len() < SHARED_BODY_MIN {
        allocated(body.len())
    } else {
        0
    }
}
