//! The faults of a peer's bytes, with the reply code and text that answer them.

use std::fmt;

use bytes::Bytes;

use super::{MethodId, ReplyCode, table::TableError};

/// Malformed bytes. Each error closes the connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// A frame is larger than agreed; its payload was not read.
    #[error("type {kind}, all octets = <<>>: {{frame_too_large,{size},{max}}}")]
    FrameTooLarge {
        /// The frame's type octet.
        kind: u8,
        /// The payload it announced.
        size: u32,
        /// The largest payload accepted.
        max: u32,
    },
    /// A frame has no end octet where its size says.
    #[error("type {kind}, {}: {{invalid_frame_end_marker,{marker}}}", Octets(.payload))]
    FrameEnd {
        /// The frame's type octet.
        kind: u8,
        /// The octet in place of the end octet.
        marker: u8,
        /// The payload before it.
        payload: Bytes,
    },
    /// A frame of a type that does not exist.
    #[error("type {kind}, {}: unknown_frame", Octets(.payload))]
    FrameKind {
        /// The frame's type octet.
        kind: u8,
        /// Its payload.
        payload: Bytes,
    },
    /// A method frame that is shorter or longer than its arguments.
    #[error("cannot decode {}", Words(.arguments))]
    Arguments {
        /// The method.
        method: MethodId,
        /// The bytes after the method's id.
        arguments: Bytes,
    },
    /// A method frame too short for a method's id.
    #[error("a method frame of {0} octets has no method id")]
    NoMethod(usize),
    /// A class that does not exist.
    #[error("unknown class {}", .0.class)]
    UnknownClass(MethodId),
    /// A method that its class does not have.
    #[error("unknown method {} of class {}", .0.method, .0.class)]
    UnknownMethod(MethodId),
    /// A name, key or tag that is not UTF-8, in RabbitMQ's words.
    #[error("Malformed UTF-8 in shortstr")]
    Text {
        /// The method.
        method: MethodId,
    },
    /// A field table that cannot be read.
    #[error("{error}")]
    Table {
        /// The method it came with; for a header frame the one that carries the content.
        method: MethodId,
        /// The fault.
        error: TableError,
    },
    /// A content header too short for its fixed fields.
    #[error("a content header of {0} octets is too short")]
    HeaderLength(usize),
    /// A content header of a class without content.
    #[error("expected content header for class 60, got one for class {0} instead")]
    HeaderClass(u16),
    /// A content header with a weight, which RabbitMQ takes for none.
    #[error("expected content header for class 60, got non content header frame instead")]
    HeaderWeight(u16),
    /// A property list that does not agree with its flags.
    #[error("malformed properties: {0}")]
    Properties(&'static str),
}

impl WireError {
    /// The reply code that answers it.
    #[must_use]
    pub fn code(&self) -> ReplyCode {
        match self {
            Self::FrameTooLarge { .. }
            | Self::FrameEnd { .. }
            | Self::FrameKind { .. }
            | Self::Arguments { .. }
            | Self::Text { .. }
            | Self::NoMethod(_)
            | Self::HeaderLength(_) => ReplyCode::FrameError,
            Self::UnknownClass(_) => ReplyCode::NotImplemented,
            Self::UnknownMethod(_) => ReplyCode::CommandInvalid,
            Self::Table { .. } | Self::Properties(_) => ReplyCode::SyntaxError,
            Self::HeaderClass(_) | Self::HeaderWeight(_) => ReplyCode::UnexpectedFrame,
        }
    }

    /// The method in fault; 0.0 when there is none.
    #[must_use]
    pub fn method(&self) -> MethodId {
        match self {
            Self::Arguments { method, .. }
            | Self::Text { method }
            | Self::Table { method, .. }
            | Self::UnknownClass(method)
            | Self::UnknownMethod(method) => *method,
            Self::HeaderLength(_)
            | Self::HeaderClass(_)
            | Self::HeaderWeight(_)
            | Self::Properties(_) => MethodId::BASIC_PUBLISH,
            Self::FrameTooLarge { .. }
            | Self::FrameEnd { .. }
            | Self::FrameKind { .. }
            | Self::NoMethod(_) => MethodId::NONE,
        }
    }
}

/// How many octets a text shows.
const OCTETS_SHOWN: usize = 16;

/// The beginning of a payload as RabbitMQ shows it: a quoted text when it is printable.
struct Octets<'a>(&'a [u8]);

impl fmt::Display for Octets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(OCTETS_SHOWN)];
        let how_many = if self.0.len() > OCTETS_SHOWN {
            "first 16"
        } else {
            "all"
        };
        write!(f, "{how_many} octets = ")?;
        let printable = shown
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"');
        if printable && !shown.is_empty() {
            return write!(f, "<<\"{}\">>", shown.escape_ascii());
        }
        Words(shown).fmt(f)
    }
}

/// Octets as numbers, as many as fit a reply text.
struct Words<'a>(&'a [u8]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        for (at, byte) in self.0.iter().take(super::ShortStr::MAX_LEN).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{byte}")?;
        }
        f.write_str(">>")
    }
}
