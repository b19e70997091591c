//! The messages and methods for a client in the same process.

use bytes::{Bytes, BytesMut};

use crate::broker::{
    memory::SHARED_BODY_MIN,
    message::Content,
    outbox::Deliver,
    wire::{FrameReader, Method, Properties, ShortStr, method::MethodSpec},
};

/// The bytes that a message counts beyond its own.
const OVERHEAD: usize = 128;

/// One thing that a client in the same process is sent.
#[derive(Debug)]
pub enum Received {
    /// An answer, a confirm, or the end of a consumer or channel.
    Method(Box<Method>),
    /// A message for its consumer.
    Message(ReceivedMessage),
    /// A method that a message belongs to: of basic.get, or one that was returned.
    WithMessage(Box<Method>, ReceivedMessage),
}

/// A message for a consumer. Only its large parts share memory with others.
#[derive(Clone, Debug)]
pub struct ReceivedMessage {
    /// The delivery tag that acknowledges it.
    pub delivery_tag: u64,
    /// It may have been delivered before.
    pub redelivered: bool,
    /// The routing key it was published with.
    pub routing_key: ShortStr,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// A method as the client reads it: written and read once, so that every method can be sent. Methods are
    /// few beside messages.
    pub(in crate::broker) fn method(method: &impl MethodSpec, channel: u16) -> Option<Self> {
        let mut frame = BytesMut::new();
        method.put(&mut frame, channel);
        Self::from_frame(frame)
    }

    /// A method with the message that belongs to it.
    pub(in crate::broker) fn with_message(
        method: &impl MethodSpec,
        channel: u16,
        message: ReceivedMessage,
    ) -> Option<Self> {
        match Self::method(method, channel)? {
            Self::Method(method) => Some(Self::WithMessage(method, message)),
            other => Some(other),
        }
    }

    /// The same of a method that is written already.
    pub(in crate::broker) fn from_frame(frame: BytesMut) -> Option<Self> {
        let mut frames = FrameReader::default();
        *frames.input() = frame;
        let frame = frames.next(u32::MAX).ok()??;
        let method = Method::decode(frame.payload).ok()?;
        Some(Self::Method(Box::new(method)))
    }
}

impl ReceivedMessage {
    /// A copy of a delivery: it may be a part of the buffer that a publisher's socket was read into.
    pub(in crate::broker) fn new(deliver: &Deliver<'_>) -> Self {
        Self::of_content(&deliver.content, deliver.delivery_tag, deliver.redelivered)
    }

    /// A copy of a content.
    pub(in crate::broker) fn of_content(
        content: &Content<'_>,
        delivery_tag: u64,
        redelivered: bool,
    ) -> Self {
        let body = match content.body.len() {
            0..SHARED_BODY_MIN => Bytes::copy_from_slice(content.body),
            _ => content.body.clone(),
        };
        Self {
            delivery_tag,
            redelivered,
            routing_key: content.routing_key.detached(),
            properties: content.properties.detached(),
            body,
        }
    }

    /// Its bytes in the outbox.
    pub(in crate::broker) fn bytes(&self) -> usize {
        OVERHEAD + self.properties.as_bytes().len() + self.body.len()
    }
}
