//! One connection to the broker, from its opening to its end, as its users see it.

use std::{sync::Arc, time::Duration};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    AmqpError,
    broker::{AmqpChannel, AmqpConnection, Purpose},
};

/// How long users of the connection may take to end while the broker blocks publishers.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// A connection that is up.
#[derive(Debug)]
pub struct Connected {
    connection: Arc<dyn AmqpConnection>,
    number: u64,
    /// Cancelled when it is lost.
    pub(super) gone: CancellationToken,
    /// Cancelled when it is not needed any more.
    pub(super) leaving: CancellationToken,
    /// Those who use it.
    pub(super) users: TaskTracker,
}

impl Connected {
    pub(super) fn new(connection: Arc<dyn AmqpConnection>, number: u64) -> Self {
        Self {
            connection,
            number,
            gone: CancellationToken::new(),
            leaving: CancellationToken::new(),
            users: TaskTracker::new(),
        }
    }

    /// A use of it; none when it is about to end.
    pub(super) fn usage(self: &Arc<Self>) -> Option<Usage> {
        let usage = Usage {
            _token: Arc::new(self.users.token()),
            connected: Arc::clone(self),
        };
        (!self.leaving.is_cancelled() && !self.gone.is_cancelled()).then_some(usage)
    }

    /// The connection itself.
    pub(super) fn connection(&self) -> &dyn AmqpConnection {
        &*self.connection
    }
}

/// A use of the connection: it is closed only after every use of it was dropped.
#[derive(Clone, Debug)]
pub struct Usage {
    connected: Arc<Connected>,
    _token: Arc<TaskTrackerToken>,
}

impl Usage {
    /// The number of the connection, counted up by one.
    pub(crate) fn number(&self) -> u64 {
        self.connected.number
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is gone, or the broker allows no more channels.
    pub(crate) async fn open(&self, purpose: Purpose) -> Result<Box<dyn AmqpChannel>, AmqpError> {
        tokio::select! {
            () = self.connected.gone.cancelled() => Err(AmqpError::NotConnected),
            channel = self.connected.connection.open(purpose) => channel,
        }
    }

    /// The connection itself.
    pub(super) fn connection(&self) -> &dyn AmqpConnection {
        self.connected.connection()
    }

    /// Whether the broker blocks publishers.
    pub(crate) fn is_blocked(&self) -> bool {
        self.connected.connection.is_blocked()
    }

    /// Returns when users of the connection have had `max` after `stop`, or less while the broker blocks
    /// publishers.
    pub(super) async fn overdue(&self, stop: &CancellationToken, max: Duration) {
        stop.cancelled().await;
        let max = match self.is_blocked() {
            true => max.min(BLOCKED_MAX),
            false => max,
        };
        tokio::time::sleep(max).await;
    }

    /// Cancelled when the connection is lost: nothing is answered any more.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.connected.gone
    }

    /// Cancelled when no channel needs the broker any more: consumers cancel, drain and drop this.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.connected.leaving
    }
}
