//! Content: the header frame and the body frames that follow a publish, return, deliver or get-ok.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Properties, WireError,
    frame::{FRAME_END, FrameKind, HEAD_LEN, OVERHEAD, Payload, head},
    wire_len,
};

/// The class of all content, `basic`.
const BASIC: u16 = 60;
/// Class, weight and body size: the part before the properties.
const FIXED_LEN: usize = 12;

/// The header frame's data about the body to come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentHeader {
    /// How many bytes the body frames carry together; with 0 there are none.
    pub body_size: u64,
    /// The message's properties.
    pub properties: Properties,
}

impl ContentHeader {
    /// Reads a header frame's payload.
    ///
    /// # Errors
    /// When it is too short, of another class than basic, weighted, or its properties are
    /// malformed.
    pub fn decode<'a>(payload: impl Into<Payload<'a>>) -> Result<Self, WireError> {
        let payload = payload.into();
        let Some(&[c1, c0, w1, w0, ref size @ ..]) = payload.first_chunk::<FIXED_LEN>() else {
            return Err(WireError::HeaderLength(payload.len()));
        };
        let class = u16::from_be_bytes([c1, c0]);
        let weight = u16::from_be_bytes([w1, w0]);
        let body_size = u64::from_be_bytes(*size);
        if class != BASIC {
            return Err(WireError::HeaderClass(class));
        }
        if weight != 0 {
            return Err(WireError::HeaderWeight(weight));
        }
        let list = payload
            .skip(FIXED_LEN)
            .map_or_else(Bytes::new, Payload::to_bytes);
        Ok(Self {
            body_size,
            properties: Properties::decode(list)?,
        })
    }
}

/// Appends a header frame.
pub fn put_header(out: &mut BytesMut, channel: u16, body_size: u64, properties: &Properties) {
    let raw = properties.as_bytes();
    out.reserve(HEAD_LEN + FIXED_LEN + raw.len() + 1);
    out.put_slice(&head(
        FrameKind::Header,
        channel,
        wire_len(FIXED_LEN + raw.len()),
    ));
    out.put_u32(u32::from(BASIC) << 16);
    out.put_u64(body_size);
    out.put_slice(raw);
    out.put_u8(FRAME_END);
}

/// Appends a body, cut into as many frames as `frame_max` asks for; none when it is empty.
pub fn put_body(out: &mut BytesMut, channel: u16, body: &[u8], frame_max: u32) {
    for range in body_ranges(body.len(), frame_max) {
        out.reserve(HEAD_LEN + range.len() + 1);
        put_body_head(out, channel, range.len());
        out.put_slice(&body[range]);
        out.put_u8(FRAME_END);
    }
}

/// Appends a header frame and the body frames.
pub fn put_content(
    out: &mut BytesMut,
    channel: u16,
    properties: &Properties,
    body: &[u8],
    frame_max: u32,
) {
    put_header(out, channel, body.len() as u64, properties);
    put_body(out, channel, body, frame_max);
}

/// Appends the head of one body frame. For writers who send the body from where it lies: the body
/// itself and [`FRAME_END`] follow.
pub fn put_body_head(out: &mut BytesMut, channel: u16, len: usize) {
    out.put_slice(&head(FrameKind::Body, channel, wire_len(len)));
}

/// The parts of a body of `len` bytes, one for each body frame.
pub fn body_ranges(len: usize, frame_max: u32) -> impl Iterator<Item = Range<usize>> {
    let step = usize::try_from(frame_max.saturating_sub(OVERHEAD))
        .unwrap_or(usize::MAX)
        .max(1);
    (0..len)
        .step_by(step)
        .map(move |start| start..start.saturating_add(step).min(len))
}

#[cfg(test)]
mod tests;
