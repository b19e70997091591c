//! AMQP 0-9-1 as bytes: frames, methods, properties and field tables, both ways.
//!
//! Decoding cuts slices out of the buffer that was read and copies nothing; encoding appends
//! complete frames to a buffer. This room does not know what a method means.

pub mod content;
mod error;
pub mod frame;
pub mod method;
#[cfg(test)]
mod oracle;
pub mod properties;
pub mod reply;
mod short;
pub mod table;

pub use self::{
    content::ContentHeader,
    error::WireError,
    frame::{Frame, FrameKind, FrameReader, Payload, ProtocolHeader},
    method::{Method, MethodId},
    properties::Properties,
    reply::ReplyCode,
    short::{ShortStr, TooLong},
    table::{ArrayRef, Table, TableRef, ValueRef},
};

/// A length as it is written on the wire. Whatever is encoded is bounded far below 4 GiB by the
/// frames it came in; larger lengths, which cannot occur, become the largest number.
fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
