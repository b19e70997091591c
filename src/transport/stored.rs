//! Rows of an earlier run: webhooks and the channels of the broker with their cursors, and the modes.

use super::{
    StoredRows,
    amqp::{self, StoredCursors},
    flag::{self, StoredFlag},
    webhook::{self, RestoredWebhook},
};
use crate::registry::UnreadableRow;

/// The rows of an earlier run.
#[derive(Debug, Default)]
pub struct StoredTransport {
    pub(super) webhooks: Vec<RestoredWebhook>,
    pub(super) flag: Option<StoredFlag>,
    pub(super) channels: StoredCursors,
}

impl StoredTransport {
    /// Reads all tables; `rows_of` gives the rows of one.
    ///
    /// # Errors
    /// That of `rows_of`, or a row cannot be read.
    pub fn read<E: From<UnreadableRow>>(
        rows_of: impl Fn(&'static str) -> Result<StoredRows, E>,
    ) -> Result<Self, E> {
        let (webhooks, cursors) = (rows_of(webhook::WEBHOOKS)?, rows_of(webhook::CURSORS)?);
        Ok(Self {
            webhooks: RestoredWebhook::read_all(&webhooks, &cursors)?,
            flag: StoredFlag::read(&rows_of(flag::FLAG)?)?,
            channels: StoredCursors::read(&rows_of(amqp::CURSORS)?)?,
        })
    }

    /// How many webhooks there are.
    pub fn webhooks(&self) -> usize {
        self.webhooks.len()
    }
}
