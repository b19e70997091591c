//! Reply codes: their numbers, their names and whether they end a channel or the connection.

use std::fmt;

use super::{ShortStr, short::char_boundary};

/// A reply code of AMQP 0-9-1.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReplyCode {
    /// 200: success.
    Success,
    /// 311: the body is larger than accepted.
    ContentTooLarge,
    /// 312: no queue was found for a mandatory message (only in `basic.return`).
    NoRoute,
    /// 313: no consumer was ready for an immediate message (only in `basic.return`).
    NoConsumers,
    /// 320: an operator closed the connection.
    ConnectionForced,
    /// 402: an unknown virtual host.
    InvalidPath,
    /// 403: the user may not do this.
    AccessRefused,
    /// 404: no such exchange or queue.
    NotFound,
    /// 405: another connection owns it.
    ResourceLocked,
    /// 406: an argument does not fit what is there.
    PreconditionFailed,
    /// 501: a malformed frame.
    FrameError,
    /// 502: an illegal value in a frame.
    SyntaxError,
    /// 503: an unknown or misplaced method.
    CommandInvalid,
    /// 504: a channel that is not open, or open already.
    ChannelError,
    /// 505: a frame that does not fit the content in progress.
    UnexpectedFrame,
    /// 506: a limit of the server was reached.
    ResourceError,
    /// 530: against the rules of the connection.
    NotAllowed,
    /// 540: a method or option that the server does not have.
    NotImplemented,
    /// 541: a fault of the server.
    InternalError,
}

impl ReplyCode {
    /// Every code.
    pub const ALL: [Self; 19] = [
        Self::Success,
        Self::ContentTooLarge,
        Self::NoRoute,
        Self::NoConsumers,
        Self::ConnectionForced,
        Self::InvalidPath,
        Self::AccessRefused,
        Self::NotFound,
        Self::ResourceLocked,
        Self::PreconditionFailed,
        Self::FrameError,
        Self::SyntaxError,
        Self::CommandInvalid,
        Self::ChannelError,
        Self::UnexpectedFrame,
        Self::ResourceError,
        Self::NotAllowed,
        Self::NotImplemented,
        Self::InternalError,
    ];

    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::ContentTooLarge => 311,
            Self::NoRoute => 312,
            Self::NoConsumers => 313,
            Self::ConnectionForced => 320,
            Self::InvalidPath => 402,
            Self::AccessRefused => 403,
            Self::NotFound => 404,
            Self::ResourceLocked => 405,
            Self::PreconditionFailed => 406,
            Self::FrameError => 501,
            Self::SyntaxError => 502,
            Self::CommandInvalid => 503,
            Self::ChannelError => 504,
            Self::UnexpectedFrame => 505,
            Self::ResourceError => 506,
            Self::NotAllowed => 530,
            Self::NotImplemented => 540,
            Self::InternalError => 541,
        }
    }

    /// Its name as clients look for it at the head of a reply text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "REPLY_SUCCESS",
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// Whether it ends the whole connection; a soft one ends its channel.
    #[must_use]
    pub fn is_hard(self) -> bool {
        matches!(self.code(), 320 | 402 | 500..)
    }

    /// The code with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// The reply text `NAME - explanation`, cut to what a short string holds as RabbitMQ cuts it
    /// (252 bytes and three dots).
    #[must_use]
    pub fn text(self, explanation: &str) -> ShortStr {
        let text = format!("{} - {explanation}", self.name());
        if text.len() <= ShortStr::MAX_LEN {
            return ShortStr::truncated(&text);
        }
        let cut = char_boundary(&text, ShortStr::MAX_LEN - 3);
        ShortStr::truncated(&format!("{}...", &text[..cut]))
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.name())
    }
}

#[cfg(test)]
mod tests;
