//! Frames: cut out of the bytes that arrived, refused before anything is allocated for them.

use bytes::{Buf, Bytes, BytesMut};

use super::WireError;

/// The last octet of every frame.
pub const FRAME_END: u8 = 0xCE;
/// Type, channel and size: what stands before a payload.
pub const HEAD_LEN: usize = 7;
/// What a frame has beyond its payload.
pub const OVERHEAD: u32 = 8;
/// The smallest `frame_max` that may be agreed, and the limit until one is.
pub const MIN_FRAME_MAX: u32 = 4096;

/// How far above `frame_max` a frame may be: quite a few clients forget the overhead, so RabbitMQ
/// tolerates it.
const TOLERANCE: u32 = 8;

/// What a frame carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameKind {
    /// A method, type 1.
    Method,
    /// A content header, type 2.
    Header,
    /// A part of a content's body, type 3.
    Body,
    /// A sign of life, type 8.
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
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel it belongs to.
    pub channel: u16,
    /// What is between its head and its end, a slice of the buffer it was read into.
    pub payload: Bytes,
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
}

impl FrameReader {
    /// A reader that begins with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            input: BytesMut::with_capacity(capacity),
        }
    }

    /// Where arriving bytes are appended.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// How many bytes are waiting to be cut.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// The protocol header, once it is there. One that cannot become right is reported before it
    /// is complete.
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
    /// When the frame is too large, of an unknown type or without its end. The stream is lost
    /// then: nothing after it can be understood.
    pub fn next(&mut self, frame_max: u32) -> Result<Option<Frame>, WireError> {
        let Some(&[kind, c1, c0, s3, s2, s1, s0]) = self.input.first_chunk::<HEAD_LEN>() else {
            return Ok(None);
        };
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let max = frame_max.saturating_sub(OVERHEAD);
        if size > max.saturating_add(TOLERANCE) {
            return Err(WireError::FrameTooLarge { kind, size, max });
        }
        let Ok(len) = usize::try_from(size) else {
            return Err(WireError::FrameTooLarge { kind, size, max });
        };
        let Some(&marker) = self.input.get(HEAD_LEN + len) else {
            return Ok(None);
        };
        self.input.advance(HEAD_LEN);
        let payload = if len == 0 {
            Bytes::new()
        } else {
            self.input.split_to(len).freeze()
        };
        self.input.advance(1);
        if marker != FRAME_END {
            return Err(WireError::FrameEnd {
                kind,
                marker,
                payload,
            });
        }
        let Some(kind) = FrameKind::from_octet(kind) else {
            return Err(WireError::FrameKind { kind, payload });
        };
        let channel = u16::from_be_bytes([c1, c0]);
        Ok(Some(Frame {
            kind,
            channel,
            payload,
        }))
    }

    /// How many more bytes the frame in progress needs; 1 while its size is not known. Only
    /// meaningful after [`FrameReader::next`] answered nothing, which bounds it by `frame_max`.
    #[must_use]
    pub fn missing(&self) -> usize {
        let Some(&[_, _, _, s3, s2, s1, s0]) = self.input.first_chunk::<HEAD_LEN>() else {
            return 1;
        };
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let whole = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .saturating_add(HEAD_LEN + 1);
        whole.saturating_sub(self.input.len()).max(1)
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
