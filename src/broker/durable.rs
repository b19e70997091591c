//! Durable exchanges, queues and bindings outside of memory: their rows, and the thread that commits changes of them.
//!
//! A vhost appends changes under its lock and never waits for the disk. Answers to clients wait for the commit.

mod journal;
mod loads;
mod reader;
mod rows;

use std::{fmt, sync::Arc};

use bytes::Bytes;

pub use self::{
    journal::TopologyJournal,
    loads::{LoadRequest, LoadRequests, LoadedMessages, load},
    rows::{BindingEnd, BindingRow, ExchangeRow, QueueRow, UnreadableTopologyRow},
};

/// The tables that a topology is kept in. Each row has a number that is never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TopologyTable {
    /// The numbers in use: one row.
    Numbers,
    /// Exchanges but for the predeclared ones.
    Exchanges,
    /// Queues.
    Queues,
    /// Bindings between durable objects.
    Bindings,
    /// Queues that were deleted, until the log of messages has deleted their messages durably. Messages of a queue that
    /// is in neither table are a sign of damage: they are kept.
    DeletedQueues,
}

impl TopologyTable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Numbers => "broker.numbers",
            Self::Exchanges => "broker.exchanges",
            Self::Queues => "broker.queues",
            Self::Bindings => "broker.bindings",
            Self::DeletedQueues => "broker.deleted_queues",
        }
    }
}

/// A row that is put, or deleted where it has no value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TopologyChange {
    /// Its table.
    pub table: TopologyTable,
    /// Its number.
    pub number: u64,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}

/// Why a topology could not be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TopologyFault {
    /// Nothing was changed. The next attempt may succeed.
    #[error("the disk is full")]
    Full,
    /// It is unknown which changes are stored.
    #[error("{0}")]
    Failed(Arc<str>),
    /// A stored row is not understood.
    #[error(transparent)]
    Row(#[from] UnreadableTopologyRow),
}

/// The function that takes each row.
pub type EachRow<'a> = dyn FnMut(u64, Bytes) -> Result<(), TopologyFault> + 'a;

/// Keeps a topology. Its calls wait for the disk.
pub trait TopologyStore: fmt::Debug + Send + Sync {
    /// Makes changes together. They survive the process when this returns.
    ///
    /// # Errors
    /// They are not made.
    fn commit(&self, changes: &[TopologyChange]) -> Result<(), TopologyFault>;

    /// Makes the commits survive a loss of power.
    ///
    /// # Errors
    /// It is unknown which commits survive.
    fn sync(&self) -> Result<(), TopologyFault>;

    /// Reads all rows of a table.
    ///
    /// # Errors
    /// They cannot be read, or `each` has failed.
    fn read(&self, table: TopologyTable, each: &mut EachRow<'_>) -> Result<(), TopologyFault>;
}

#[cfg(test)]
pub(super) mod testing;
