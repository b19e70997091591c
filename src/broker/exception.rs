//! Protocol exceptions: what a client did wrong, as a value that travels to the wire.

use std::fmt;

use super::wire::{MethodId, ReplyCode, ShortStr, WireError};

/// A channel or connection exception; its code says which of the two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exception {
    /// The reply code.
    pub code: ReplyCode,
    /// What stands behind the code's name.
    pub explanation: String,
    /// The method at fault, where it is not simply the one being carried out.
    pub method: Option<MethodId>,
    /// Whether it ends the connection whatever the code's level is.
    pub hard: bool,
}

impl Exception {
    /// An exception of the code's own level.
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

    /// The same, blamed on this method.
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
