//! Bytes that wait to be sent to one client: appended by any task, taken by the task that writes.
//! A peer in the same process gets methods and messages instead of bytes.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::{
    local::{Received, ReceivedMessage},
    memory::{Charge, SHARED_BODY_MIN},
    message::Content,
    wire::{
        ShortStr,
        content::{body_ranges, put_body, put_body_head, put_header},
        frame::FRAME_END,
        method::MethodSpec,
    },
};

/// The bytes of a delivery on the wire beyond its strings, properties and body.
const DELIVER_OVERHEAD: usize = 48;
/// The first allocation of an empty outbox.
const FIRST_ROOM: usize = 512;
/// The largest first allocation.
const FIRST_ROOM_MAX: usize = 64 * 1024;

/// The result of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Put {
    /// Rejected: the outbox is full or closed.
    Full,
    /// It is the first since the last flush: the caller must flush.
    First,
    /// Others wait already: the flush that they wait for sends it too.
    More,
}

/// The bytes that are not sent yet.
#[derive(Debug)]
pub struct Outbox {
    waiting: Mutex<Unsent>,
    room: usize,
    /// Whether the peer is in the same process.
    local: bool,
}

#[derive(Debug, Default)]
struct Unsent {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    /// For a peer in the same process.
    received: VecDeque<Received>,
    /// Bytes that wait here, and those that a writer has taken and not written.
    unsent: usize,
    /// The part of that in bodies with separate charges.
    charged: usize,
    /// Counts the others while they wait for a slow client.
    charge: Charge,
    /// The length of the last flush: the size of the next allocation.
    usual: usize,
    scheduled: bool,
    starved: bool,
    closed: bool,
}

/// A message for a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Deliver<'a> {
    /// The channel's number.
    pub channel: u16,
    /// The consumer's tag.
    pub consumer_tag: &'a ShortStr,
    /// The tag that acknowledges it.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The message.
    pub content: Content<'a>,
    /// The largest frame of the connection.
    pub frame_max: u32,
}

impl Outbox {
    /// An outbox that takes no more deliveries once it holds `room` bytes.
    pub fn new(room: usize) -> Self {
        Self::counted(room, Charge::default())
    }

    /// The same, which counts what waits for a slow client.
    pub fn counted(room: usize, charge: Charge) -> Self {
        let waiting = Unsent {
            charge,
            ..Unsent::default()
        };
        Self {
            waiting: Mutex::new(waiting),
            room,
            local: false,
        }
    }

    /// An outbox of a peer in the same process: nothing is encoded.
    pub fn local(room: usize) -> Self {
        Self {
            local: true,
            ..Self::new(room)
        }
    }

    /// Appends a method: an answer, which is never refused.
    pub fn put(&self, method: &impl MethodSpec, channel: u16) -> Put {
        if self.local {
            let received = Received::method(method, channel);
            return self.waiting.lock().receive(received, 0);
        }
        self.write(|out| method.put(out, channel))
    }

    /// Appends a method that is written already: an answer, which is never refused.
    pub fn put_written(&self, method: &[u8]) -> Put {
        if self.local {
            let received = Received::from_frame(BytesMut::from(method));
            return self.waiting.lock().receive(received, 0);
        }
        self.write(|out| out.extend_from_slice(method))
    }

    /// Appends whole frames, which are never refused. A peer in the same process has no use for them.
    pub fn write(&self, frames: impl FnOnce(&mut BytesMut)) -> Put {
        let mut waiting = self.waiting.lock();
        if waiting.closed || self.local {
            return Put::Full;
        }
        waiting.begin();
        let before = waiting.tail.len();
        frames(&mut waiting.tail);
        waiting.unsent += waiting.tail.len() - before;
        waiting.schedule()
    }

    /// Appends a method with a content, which is never refused.
    pub fn put_with_content(
        &self,
        method: &impl MethodSpec,
        channel: u16,
        content: Content<'_>,
        frame_max: u32,
    ) -> Put {
        let mut waiting = self.waiting.lock();
        if self.local {
            let message = ReceivedMessage::of_content(&content, 0, false);
            let bytes = message.bytes();
            return waiting.receive(Received::with_message(method, channel, message), bytes);
        }
        if waiting.closed {
            return Put::Full;
        }
        waiting.begin();
        let before = waiting.tail.len();
        method.put(&mut waiting.tail, channel);
        put_header(
            &mut waiting.tail,
            channel,
            content.body.len() as u64,
            content.properties,
        );
        waiting.unsent += waiting.tail.len() - before;
        waiting.put_body(channel, &content, frame_max);
        waiting.schedule()
    }

    /// Appends a delivery, if there is room.
    pub fn deliver(&self, deliver: &Deliver<'_>) -> Put {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Put::Full;
        }
        if waiting.unsent >= self.room {
            waiting.starved = true;
            return Put::Full;
        }
        if self.local {
            let message = ReceivedMessage::new(deliver);
            let bytes = message.bytes();
            return waiting.receive(Some(Received::Message(message)), bytes);
        }
        waiting.begin();
        let content = &deliver.content;
        let before = waiting.tail.len();
        put_deliver(&mut waiting.tail, deliver);
        let length = content.body.len() as u64;
        put_header(
            &mut waiting.tail,
            deliver.channel,
            length,
            content.properties,
        );
        waiting.unsent += waiting.tail.len() - before;
        waiting.put_body(deliver.channel, content, deliver.frame_max);
        waiting.schedule()
    }

    /// Whether there is no room; if so, [`Self::wrote`] returns true when there is room again.
    pub fn is_full(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let full = waiting.unsent >= self.room;
        waiting.starved |= full;
        full
    }

    /// Bytes not sent yet.
    pub fn unsent(&self) -> usize {
        self.waiting.lock().unsent
    }

    /// Whether something waits to be taken.
    pub fn is_scheduled(&self) -> bool {
        self.waiting.lock().scheduled
    }

    /// Moves everything that waits to a writer.
    pub fn take(&self, into: &mut VecDeque<Bytes>) {
        let mut waiting = self.waiting.lock();
        waiting.scheduled = false;
        into.append(&mut waiting.chunks);
        if !waiting.tail.is_empty() {
            let tail = std::mem::take(&mut waiting.tail);
            waiting.usual = tail.len();
            into.push_back(tail.freeze());
        }
    }

    /// Moves everything that waits to a client in the same process; whether deliveries that were rejected may be
    /// tried again.
    pub fn take_received(&self, into: &mut VecDeque<Received>) -> bool {
        let bytes = {
            let mut waiting = self.waiting.lock();
            waiting.scheduled = false;
            into.append(&mut waiting.received);
            waiting.unsent
        };
        self.wrote(bytes)
    }

    /// The socket is full: from now on the waiting bytes are counted.
    pub fn stall(&self) {
        self.waiting.lock().recount();
    }

    /// Counts bytes that were written; whether deliveries that were rejected may be tried again.
    pub fn wrote(&self, bytes: usize) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.unsent = waiting.unsent.saturating_sub(bytes);
        waiting.charged = waiting.charged.min(waiting.unsent);
        if waiting.unsent > 0 || waiting.charge.bytes() > 0 {
            waiting.recount();
        }
        let resume = waiting.starved && waiting.unsent <= self.room / 2;
        if resume {
            waiting.starved = false;
        }
        resume
    }

    /// Drops everything, and rejects everything from now on.
    pub fn close(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Unsent {
            closed: true,
            ..Unsent::default()
        };
    }
}

impl Unsent {
    fn begin(&mut self) {
        if self.tail.capacity() == 0 {
            self.tail
                .reserve(self.usual.clamp(FIRST_ROOM, FIRST_ROOM_MAX));
        }
    }

    fn receive(&mut self, received: Option<Received>, bytes: usize) -> Put {
        let Some(received) = received.filter(|_| !self.closed) else {
            return Put::Full;
        };
        self.received.push_back(received);
        self.unsent += bytes;
        self.schedule()
    }

    fn recount(&mut self) {
        self.charge.set(self.unsent - self.charged);
    }

    fn schedule(&mut self) -> Put {
        if self.scheduled {
            return Put::More;
        }
        self.scheduled = true;
        Put::First
    }

    fn put_body(&mut self, channel: u16, content: &Content<'_>, frame_max: u32) {
        let body = content.body;
        let before = self.tail.len();
        if body.len() < SHARED_BODY_MIN {
            put_body(&mut self.tail, channel, body, frame_max);
            self.unsent += self.tail.len() - before;
            return;
        }
        if content.body_charged {
            self.charged += body.len();
        }
        for range in body_ranges(body.len(), frame_max) {
            put_body_head(&mut self.tail, channel, range.len());
            let head = self.tail.split().freeze();
            self.unsent += range.len() + 8;
            self.chunks.push_back(head);
            self.chunks.push_back(body.slice(range));
            self.tail.put_u8(FRAME_END);
        }
    }
}

fn put_deliver(out: &mut BytesMut, deliver: &Deliver<'_>) {
    let Deliver {
        consumer_tag,
        content,
        ..
    } = deliver;
    let strings = [
        consumer_tag.len(),
        content.exchange.len(),
        content.routing_key.len(),
    ];
    let length = strings.iter().sum::<usize>() + 16;
    // A larger body is not copied.
    let body = Some(content.body.len()).filter(|len| *len < SHARED_BODY_MIN);
    let rest = content.properties.as_bytes().len() + body.unwrap_or(0);
    out.reserve(length + rest + DELIVER_OVERHEAD);
    let [c1, c0] = deliver.channel.to_be_bytes();
    let [l1, l0] = octets16(length);
    out.put_slice(&[1, c1, c0, 0, 0, l1, l0, 0, 60, 0, 60]);
    put_short(out, consumer_tag);
    out.put_u64(deliver.delivery_tag);
    out.put_u8(u8::from(deliver.redelivered));
    put_short(out, content.exchange);
    put_short(out, content.routing_key);
    out.put_u8(FRAME_END);
}

/// Three short strings and their neighbours always fit 16 bits.
fn octets16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn put_short(out: &mut BytesMut, text: &ShortStr) {
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put_slice(text);
}

#[cfg(test)]
mod tests;
