//! One life of the connection, as those see it who use it.

use std::{ops::Deref, sync::Arc, time::Duration};

use futures_util::FutureExt;
use lapin::{Channel, Connection};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::AmqpError;

/// How long a channel is kept that nobody uses any more.
const KEPT: Duration = Duration::from_secs(60);

/// How long users of the connection may take to end while the broker takes nothing from us.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// A channel that messages come by; closed when it is dropped.
///
/// The library lets go of such a channel under a lock that its own reader waits for, and if nobody else
/// has the channel then, it waits for a lock that the reader holds: both wait for ever, with a thread of
/// the daemon's (lapin 4.12, when a connection ends while messages come). So it must never be the last:
/// the channel is kept until that is long over.
#[derive(Debug)]
pub(super) struct Inlet {
    channel: Channel,
    kept: Kept,
}

impl Deref for Inlet {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        if self.channel.status().connected() {
            // Nobody waits for the answer.
            let _ = self.channel.close(200, "OK".into()).now_or_never();
        }
        self.kept.keep(self.channel.clone());
    }
}

/// Channels that nobody uses any more, each with the time since when.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<(Instant, Channel)>>>);

impl Kept {
    fn keep(&self, channel: Channel) {
        let mut all = self.0.lock();
        all.retain(|(since, one)| since.elapsed() < KEPT || one.status().connected());
        all.push((Instant::now(), channel));
    }
}

/// A connection that stands, in truth two of them; sessions are made of it.
#[derive(Debug)]
pub struct Connected {
    /// What is sent goes over this one.
    pub(super) sending: Connection,
    /// What is consumed comes by this one: a broker that takes nothing more from senders stops reading
    /// from theirs, also acknowledgements.
    pub(super) consuming: Connection,
    pub(super) number: u64,
    /// Cancelled when it is lost.
    pub(super) gone: CancellationToken,
    /// Cancelled when nobody needs it any more.
    pub(super) leaving: CancellationToken,
    /// Those who use it.
    pub(super) users: TaskTracker,
    kept: Kept,
}

impl Connected {
    pub(super) fn new(sending: Connection, consuming: Connection, number: u64, kept: Kept) -> Self {
        Self {
            sending,
            consuming,
            number,
            gone: CancellationToken::new(),
            leaving: CancellationToken::new(),
            users: TaskTracker::new(),
            kept,
        }
    }

    /// A use of it; none when it is about to end.
    pub(super) fn session(self: &Arc<Self>) -> Option<Session> {
        let session = Session {
            _use: Arc::new(self.users.token()),
            connected: Arc::clone(self),
        };
        (!self.leaving.is_cancelled() && !self.gone.is_cancelled()).then_some(session)
    }

    /// Whether the broker takes nothing of what comes by one of them.
    pub(super) fn is_blocked(&self) -> bool {
        self.sending.status().blocked() || self.consuming.status().blocked()
    }

    /// Closes both, also when one of them ends otherwise.
    pub(super) async fn close(&self) -> lapin::Result<()> {
        let (sending, consuming) = tokio::join!(close(&self.sending), close(&self.consuming));
        sending.and(consuming)
    }
}

/// The client closes a channel that was dropped by itself, some time later: a connection that is closed at
/// that moment ends without a word. The broker answers in order, so that after one more channel all
/// others are over.
async fn close(connection: &Connection) -> lapin::Result<()> {
    if let Ok(last) = connection.create_channel().await {
        // Whatever comes of it, the connection is to be closed.
        let _closed = last.close(200, "OK".into()).await;
    }
    connection.close(200, "OK".into()).await
}

/// A use of the connection: it is closed only when every use of it was dropped.
#[derive(Clone, Debug)]
pub struct Session {
    connected: Arc<Connected>,
    _use: Arc<TaskTrackerToken>,
}

impl Session {
    /// Which life of the connection it is; grows.
    pub fn number(&self) -> u64 {
        self.connected.number
    }

    /// Opens a channel to send by.
    ///
    /// # Errors
    /// The connection is gone, or the broker allows no more channels.
    pub async fn channel(&self) -> Result<Channel, AmqpError> {
        self.open(&self.connected.sending).await
    }

    /// Opens a channel to consume by.
    ///
    /// # Errors
    /// The connection is gone, or the broker allows no more channels.
    pub(super) async fn consuming_channel(&self) -> Result<Inlet, AmqpError> {
        let channel = self.open(&self.connected.consuming).await?;
        Ok(self.inlet(channel))
    }

    /// Opens a channel to ask by and to get the answers.
    ///
    /// # Errors
    /// The connection is gone, or the broker allows no more channels.
    pub(super) async fn asking_channel(&self) -> Result<Inlet, AmqpError> {
        let channel = self.open(&self.connected.sending).await?;
        Ok(self.inlet(channel))
    }

    fn inlet(&self, channel: Channel) -> Inlet {
        Inlet {
            channel,
            kept: self.connected.kept.clone(),
        }
    }

    async fn open(&self, over: &Connection) -> Result<Channel, AmqpError> {
        let opened = over.create_channel();
        tokio::select! {
            () = self.connected.gone.cancelled() => Err(AmqpError::NotConnected),
            channel = opened => channel.map_err(AmqpError::at("opening a channel")),
        }
    }

    /// Whether the broker takes nothing from those who send.
    pub(super) fn is_blocked(&self) -> bool {
        self.connected.sending.status().blocked()
    }

    /// Returns when whoever uses the connection has had `max` after `stop`, or little where the broker takes
    /// nothing anyway.
    pub(super) async fn overdue(&self, stop: &CancellationToken, max: Duration) {
        stop.cancelled().await;
        let max = match self.connected.is_blocked() {
            true => max.min(BLOCKED_MAX),
            false => max,
        };
        tokio::time::sleep(max).await;
    }

    /// Cancelled when the connection is lost: nothing is answered any more.
    pub fn gone(&self) -> &CancellationToken {
        &self.connected.gone
    }

    /// Cancelled when no channel needs the broker any more: consumers cancel, drain and drop this.
    pub fn leaving(&self) -> &CancellationToken {
        &self.connected.leaving
    }
}
