//! Methods, in both directions.
//!
//! Each class is a table of its methods in a separate file. Reading and writing follow from the table, so
//! that both always agree.

pub mod basic;
pub mod channel;
pub mod connection;
pub mod exchange;
mod fields;
pub mod modes;
pub mod queue;
mod spec;

use std::fmt;

use bytes::BytesMut;

pub use self::spec::MethodSpec;
use self::{fields::Malformed, spec::methods};
use super::{Payload, WireError};

/// The number of a method: its class and its place in it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct MethodId {
    /// The class.
    pub class: u16,
    /// The method within its class.
    pub method: u16,
}

impl MethodId {
    /// No method: what an exception names that no method caused.
    pub const NONE: Self = Self::new(0, 0);
    /// `basic.publish`, to which a client's content belongs.
    pub const BASIC_PUBLISH: Self = Self::new(60, 40);

    /// The method of this class and number.
    #[must_use]
    pub const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}.{}", self.class, self.method),
        }
    }
}

methods! {
    ConnectionStart(connection::Start),
    ConnectionStartOk(connection::StartOk),
    ConnectionSecure(connection::Secure),
    ConnectionSecureOk(connection::SecureOk),
    ConnectionTune(connection::Tune),
    ConnectionTuneOk(connection::TuneOk),
    ConnectionOpen(connection::Open),
    ConnectionOpenOk(connection::OpenOk),
    ConnectionClose(connection::Close),
    ConnectionCloseOk(connection::CloseOk),
    ConnectionBlocked(connection::Blocked),
    ConnectionUnblocked(connection::Unblocked),
    ConnectionUpdateSecret(connection::UpdateSecret),
    ConnectionUpdateSecretOk(connection::UpdateSecretOk),
    ChannelOpen(channel::Open),
    ChannelOpenOk(channel::OpenOk),
    ChannelFlow(channel::Flow),
    ChannelFlowOk(channel::FlowOk),
    ChannelClose(channel::Close),
    ChannelCloseOk(channel::CloseOk),
    AccessRequest(modes::AccessRequest),
    AccessRequestOk(modes::AccessRequestOk),
    ExchangeDeclare(exchange::Declare),
    ExchangeDeclareOk(exchange::DeclareOk),
    ExchangeDelete(exchange::Delete),
    ExchangeDeleteOk(exchange::DeleteOk),
    ExchangeBind(exchange::Bind),
    ExchangeBindOk(exchange::BindOk),
    ExchangeUnbind(exchange::Unbind),
    ExchangeUnbindOk(exchange::UnbindOk),
    QueueDeclare(queue::Declare),
    QueueDeclareOk(queue::DeclareOk),
    QueueBind(queue::Bind),
    QueueBindOk(queue::BindOk),
    QueuePurge(queue::Purge),
    QueuePurgeOk(queue::PurgeOk),
    QueueDelete(queue::Delete),
    QueueDeleteOk(queue::DeleteOk),
    QueueUnbind(queue::Unbind),
    QueueUnbindOk(queue::UnbindOk),
    BasicQos(basic::Qos),
    BasicQosOk(basic::QosOk),
    BasicConsume(basic::Consume),
    BasicConsumeOk(basic::ConsumeOk),
    BasicCancel(basic::Cancel),
    BasicCancelOk(basic::CancelOk),
    BasicPublish(basic::Publish),
    BasicReturn(basic::Return),
    BasicDeliver(basic::Deliver),
    BasicGet(basic::Get),
    BasicGetOk(basic::GetOk),
    BasicGetEmpty(basic::GetEmpty),
    BasicAck(basic::Ack),
    BasicReject(basic::Reject),
    BasicRecoverAsync(basic::RecoverAsync),
    BasicRecover(basic::Recover),
    BasicRecoverOk(basic::RecoverOk),
    BasicNack(basic::Nack),
    ConfirmSelect(modes::ConfirmSelect),
    ConfirmSelectOk(modes::ConfirmSelectOk),
    TxSelect(modes::TxSelect),
    TxSelectOk(modes::TxSelectOk),
    TxCommit(modes::TxCommit),
    TxCommitOk(modes::TxCommitOk),
    TxRollback(modes::TxRollback),
    TxRollbackOk(modes::TxRollbackOk),
}

impl Method {
    /// Reads a method frame's payload. Long strings and tables are shares of its buffer.
    ///
    /// # Errors
    /// When the method does not exist, its arguments are shorter or longer than the payload, or a
    /// field table is malformed.
    pub fn decode<'a>(payload: impl Into<Payload<'a>>) -> Result<Self, WireError> {
        let payload = payload.into();
        let (Some(&[c1, c0, m1, m0]), Some(arguments)) = (payload.first_chunk(), payload.skip(4))
        else {
            return Err(WireError::NoMethod(payload.len()));
        };
        let id = MethodId::new(u16::from_be_bytes([c1, c0]), u16::from_be_bytes([m1, m0]));
        Self::read(id, arguments)
    }

    /// Whether a content follows it.
    #[must_use]
    pub fn carries_content(&self) -> bool {
        matches!(
            self,
            Self::BasicPublish(_)
                | Self::BasicReturn(_)
                | Self::BasicDeliver(_)
                | Self::BasicGetOk(_)
        )
    }
}

/// Why a payload is not a method. Separate from the hot path.
#[cold]
fn refused(id: MethodId, arguments: Payload<'_>, malformed: Malformed) -> WireError {
    match malformed {
        Malformed::Length => WireError::Arguments {
            method: id,
            arguments: arguments.to_bytes(),
        },
        Malformed::Text => WireError::Text { method: id },
        Malformed::Table(error) => WireError::Table { method: id, error },
    }
}

#[cold]
fn unknown(id: MethodId) -> WireError {
    match MethodId::ALL.iter().any(|known| known.class == id.class) {
        true => WireError::UnknownMethod(id),
        false => WireError::UnknownClass(id),
    }
}

#[cfg(test)]
mod tests;
