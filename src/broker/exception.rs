//! Protocol exceptions as values: a client's error, sent as channel.close or connection.close.

use std::fmt;

use super::wire::{MethodId, ReplyCode, ShortStr, WireError};

/// A channel or connection exception.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exception {
    /// The reply code.
    pub code: ReplyCode,
    /// The text after the code's name.
    pub explanation: String,
    /// The failing method, if it is not the current one.
    pub method: Option<MethodId>,
    /// Whether it closes the connection even if its code is a soft one.
    pub hard: bool,
}

impl Exception {
    /// An exception that closes what its code closes.
    pub fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self {
            code,
            explanation: explanation.into(),
            method: None,
            hard: code.is_hard(),
        }
    }

    /// 403.
    pub fn access_refused(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::AccessRefused, explanation)
    }

    /// 404.
    pub fn not_found(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotFound, explanation)
    }

    /// 406.
    pub fn precondition(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::PreconditionFailed, explanation)
    }

    /// 504.
    pub fn channel_error(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::ChannelError, explanation)
    }

    /// 505.
    pub fn unexpected_frame(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::UnexpectedFrame, explanation)
    }

    /// 530.
    pub fn not_allowed(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotAllowed, explanation)
    }

    /// 540.
    pub fn not_implemented(explanation: impl Into<String>) -> Self {
        Self::new(ReplyCode::NotImplemented, explanation)
    }

    /// The same with this failing method.
    #[must_use]
    pub fn at(mut self, method: MethodId) -> Self {
        self.method = Some(method);
        self
    }

    /// The text on the wire.
    pub fn text(&self) -> ShortStr {
        self.code.text(&self.explanation)
    }
}

impl From<WireError> for Exception {
    fn from(error: WireError) -> Self {
        Self {
            code: error.code(),
            explanation: error.to_string(),
            method: Some(error.method()),
            hard: true,
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.code, self.explanation)
    }
}
