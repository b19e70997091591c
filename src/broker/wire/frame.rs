//! Frames: cut out of the bytes that arrived, refused before anything is allocated for them.

use std::{fmt, ops};

use bytes::{Buf, Bytes, BytesMut};

use super::WireError;

/// The last octet of every frame.
pub const FRAME_END: u8 = 0xCE;
/// Type, channel and size: the part before a payload.
pub const HEAD_LEN: usize = 7;
/// The bytes of a frame beyond its payload.
pub const OVERHEAD: u32 = 8;
/// The smallest `frame_max` that may be agreed, and the limit until one is.
pub const MIN_FRAME_MAX: u32 = 4096;

/// How far above `frame_max` a frame may be: quite a few clients forget the overhead, so RabbitMQ
/// tolerates it.
const TOLERANCE: u32 = 8;

/// The content of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// A method, type 1.
    Method,
    /// A content header, type 2.
    Header,
    /// A part of a content's body, type 3.
    Body,
    /// A heartbeat, type 8.
    Heartbeat,
}

impl FrameKind {
    /// Its type octet.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Method => 1,
            Self::Header => 2,
            Self::Body => 3,
            Self::Heartbeat => 8,
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::Method),
            2 => Some(Self::Header),
            3 => Some(Self::Body),
            8 => Some(Self::Heartbeat),
            _ => None,
        }
    }
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its content.
    pub kind: FrameKind,
    /// The channel it belongs to.
    pub channel: u16,
    /// The bytes between its head and its end.
    pub payload: Payload<'a>,
}

/// The payload of a frame, where it lies in the buffer it was read into. Only what is taken out of
/// it is counted as a share of the buffer.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    buffer: &'a Bytes,
    start: usize,
    end: usize,
}

impl<'a> Payload<'a> {
    /// A share of the buffer.
    #[must_use]
    pub fn to_bytes(self) -> Bytes {
        self.buffer.slice(self.start..self.end)
    }

    /// The part behind the first `n` bytes, or nothing when there are fewer.
    pub(super) fn skip(self, n: usize) -> Option<Self> {
        (n <= self.len()).then(|| Self {
            start: self.start + n,
            ..self
        })
    }

    /// The next `N` bytes of the buffer, when there are so many; they may lead beyond the payload.
    pub(super) fn window<const N: usize>(self) -> Option<&'a [u8; N]> {
        self.buffer.get(self.start..)?.first_chunk()
    }

    /// A share of a part of it, which may be empty.
    pub(super) fn part(self, len: usize) -> Option<Bytes> {
        (len <= self.len()).then(|| self.buffer.slice(self.start..self.start + len))
    }
}

impl<'a> From<&'a Bytes> for Payload<'a> {
    fn from(buffer: &'a Bytes) -> Self {
        Self {
            buffer,
            start: 0,
            end: buffer.len(),
        }
    }
}

impl ops::Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// The eight octets with which a client begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtocolHeader {
    /// AMQP 0-9-1.
    V0_9_1,
    /// AMQP 0-9, which RabbitMQ serves with the methods of 0-9-1.
    V0_9,
    /// Anything else: answered with our own header and closed.
    Unsupported,
}

impl ProtocolHeader {
    /// The header of AMQP 0-9-1.
    pub const V0_9_1_OCTETS: [u8; 8] = *b"AMQP\0\0\x09\x01";

    const V0_9_OCTETS: [u8; 8] = *b"AMQP\x01\x01\x00\x09";
}

/// Bytes that arrived, and the frames in them.
#[derive(Debug, Default)]
pub struct FrameReader {
    input: BytesMut,
    /// Whole frames in a row, cut off the input together.
    run: Bytes,
    /// How much of the run was handed out.
    at: usize,
}

impl FrameReader {
    /// A reader that begins with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            input: BytesMut::with_capacity(capacity),
            run: Bytes::new(),
            at: 0,
        }
    }

    /// Where arriving bytes are appended.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// How many bytes are waiting to be handed out.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.run.len() - self.at + self.input.len()
    }

    /// The protocol header, once it has arrived. A wrong one is reported before it is complete.
    pub fn protocol_header(&mut self) -> Option<ProtocolHeader> {
        if let Some(octets) = self.input.first_chunk::<8>() {
            let header = match *octets {
                ProtocolHeader::V0_9_1_OCTETS => ProtocolHeader::V0_9_1,
                ProtocolHeader::V0_9_OCTETS => ProtocolHeader::V0_9,
                _ => return Some(ProtocolHeader::Unsupported),
            };
            self.input.advance(8);
            return Some(header);
        }
        let begins_right = ProtocolHeader::V0_9_1_OCTETS.starts_with(&self.input)
            || ProtocolHeader::V0_9_OCTETS.starts_with(&self.input);
        (!begins_right).then_some(ProtocolHeader::Unsupported)
    }

    /// The next complete frame. `frame_max` is the agreed one ([`MIN_FRAME_MAX`] before); there is
    /// no value for "unlimited".
    ///
    /// # Errors
    /// The frame is too large, of an unknown type or without its end. Nothing after it can be parsed.
    pub fn next(&mut self, frame_max: u32) -> Result<Option<Frame<'_>>, WireError> {
        if self.at == self.run.len() && !self.gather(frame_max)? {
            return Ok(None);
        }
        let Some(head) = Head::read(&self.run[self.at..]) else {
            return Ok(None);
        };
        let start = self.at + HEAD_LEN;
        let end = start + head.len;
        self.at = end + 1;
        let payload = Payload {
            buffer: &self.run,
            start,
            end,
        };
        let marker = self.run[end];
        if marker != FRAME_END {
            let payload = payload.to_bytes();
            return Err(WireError::FrameEnd {
                kind: head.kind,
                marker,
                payload,
            });
        }
        let Some(kind) = FrameKind::from_octet(head.kind) else {
            return Err(WireError::FrameKind {
                kind: head.kind,
                payload: payload.to_bytes(),
            });
        };
        Ok(Some(Frame {
            kind,
            channel: head.channel,
            payload,
        }))
    }

    /// Whether the next complete frame begins a message that a client publishes: the method or the header. A body
    /// that follows must be read, or what has arrived of it would be held until its client gives up.
    ///
    /// # Errors
    /// As for [`FrameReader::next`], when no complete frame is before the faulty one.
    pub fn next_is_publish(&mut self, frame_max: u32) -> Result<bool, WireError> {
        const PUBLISH: [u8; 4] = [0, 60, 0, 40];
        if self.at == self.run.len() && !self.gather(frame_max)? {
            return Ok(false);
        }
        let rest = &self.run[self.at..];
        Ok(
            match rest.first().copied().and_then(FrameKind::from_octet) {
                Some(FrameKind::Header) => true,
                Some(FrameKind::Method) => rest[HEAD_LEN..].starts_with(&PUBLISH),
                Some(FrameKind::Body | FrameKind::Heartbeat) | None => false,
            },
        )
    }

    /// Cuts all whole frames off the input; says whether there were any.
    fn gather(&mut self, frame_max: u32) -> Result<bool, WireError> {
        let max = frame_max.saturating_sub(OVERHEAD);
        let mut whole = 0;
        while let Some(head) = Head::read(&self.input[whole..]) {
            if head.size > max.saturating_add(TOLERANCE) {
                if whole == 0 {
                    return Err(WireError::FrameTooLarge {
                        kind: head.kind,
                        size: head.size,
                        max,
                    });
                }
                break;
            }
            let end = whole.saturating_add(head.len).saturating_add(HEAD_LEN + 1);
            if end > self.input.len() {
                break;
            }
            whole = end;
        }
        self.at = 0;
        self.run = match whole {
            0 => Bytes::new(),
            _ => self.input.split_to(whole).freeze(),
        };
        Ok(whole > 0)
    }

    /// How many more bytes the frame in progress needs; 1 while its size is not known. Only
    /// meaningful after [`FrameReader::next`] answered nothing, which bounds it by `frame_max`.
    #[must_use]
    pub fn missing(&self) -> usize {
        let Some(head) = Head::read(&self.input) else {
            return 1;
        };
        let whole = head.len.saturating_add(HEAD_LEN + 1);
        whole.saturating_sub(self.input.len()).max(1)
    }
}

/// The part before a payload.
struct Head {
    kind: u8,
    channel: u16,
    size: u32,
    /// The size once more, as a length.
    len: usize,
}

impl Head {
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let &[kind, c1, c0, s3, s2, s1, s0] = bytes.first_chunk::<HEAD_LEN>()?;
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        Some(Self {
            kind,
            channel: u16::from_be_bytes([c1, c0]),
            size,
            len,
        })
    }
}

/// Appends a heartbeat.
pub fn put_heartbeat(out: &mut BytesMut) {
    out.extend_from_slice(&[FrameKind::Heartbeat.octet(), 0, 0, 0, 0, 0, 0, FRAME_END]);
}

/// The head of a frame.
pub(super) fn head(kind: FrameKind, channel: u16, size: u32) -> [u8; HEAD_LEN] {
    let [c1, c0] = channel.to_be_bytes();
    let [s3, s2, s1, s0] = size.to_be_bytes();
    [kind.octet(), c1, c0, s3, s2, s1, s0]
}

#[cfg(test)]
mod tests;
