//! The task of one connection: reads frames, lets the session carry them out in its vhost, writes what it
//! answers, keeps heartbeats and deadlines.

mod turn;

use std::{
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    arrival::report_panic,
    clock::VhostCell,
    connections::{ConnectionPermit, OpenConnection},
    handshake::Negotiated,
    link::ClientWriter,
    log_limiter::cut,
    wire::Wire,
};
use crate::broker::{
    config::bytes,
    exception::Exception,
    memory::{Charge, allocated},
    peer::{Flush, Peer},
    session::{Context, Session, SessionLimits, SessionPhase},
    wire::{FrameReader, ReplyCode, frame::put_heartbeat},
};

/// How many frames are carried out in one turn with the vhost.
const FRAMES_MAX: usize = 256;
/// So many bytes are read ahead from a client that does not read its answers: its heartbeats are among them.
const AHEAD_MAX: usize = 64 * 1024;
/// So many bytes are read ahead from a blocked publisher, for its heartbeats.
const AHEAD_BLOCKED_MAX: usize = 4 * 1024;
/// After how many frames of a turn the outbox is looked at.
const OUTBOX_EVERY: usize = 32;
/// Why connections are closed at a stop, in RabbitMQ's words: some clients look for them.
const SHUTTING_DOWN: &str = "broker forced connection closure with reason 'shutdown'";
/// How often a connection without heartbeats gives back unused buffers.
const IDLE_TICK: Duration = Duration::from_secs(30);
/// The longest heartbeat that shows in time that a client is alive. Messages of a connection with a longer one,
/// or with none, are not stamped, so that no lease hangs on it.
const STAMPED_HEARTBEAT_MAX: Duration = Duration::from_secs(600);

/// A connection that has opened its vhost.
pub(super) struct Connection {
    shared: Arc<Shared>,
    wire: Wire,
    session: Session,
    vhost: Arc<VhostCell>,
    entry: Arc<OpenConnection>,
    permit: ConnectionPermit,
    /// The version of the users and permissions that the session knows.
    access_version: u64,
    /// Counts what was read and is not carried out yet.
    input: Charge,
    frame_max: u32,
    heartbeat: Option<Duration>,
    blocked_notify: bool,
    blocked: bool,
    dirty: Vec<Arc<Peer>>,
    heard: Instant,
    spoke_bytes: u64,
    /// Until when the client may answer our `connection.close`.
    closing_until: Option<Instant>,
    /// Whether the vhost has more to deliver than one turn allows.
    more: bool,
    /// Whether something that the client has asked for takes more turns.
    settling: bool,
    /// Whether it waits for the store, which then wakes this task.
    parked: bool,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        wire: Wire,
        agreed: Negotiated,
        address: SocketAddr,
    ) -> Self {
        let limits = &shared.config.limits;
        let session_limits = SessionLimits {
            channel_max: agreed.channel_max,
            message_bytes: limits.message_size.as_u64(),
            tx_bytes: bytes(limits.transaction_per_channel.get()),
        };
        let heartbeat_s = agreed.heartbeat_s;
        let name = agreed
            .client
            .field(b"connection_name")
            .and_then(|name| name.as_str_bytes());
        let heartbeat = (heartbeat_s > 0).then(|| Duration::from_secs(heartbeat_s.into()));
        let mut session = Session::new(Arc::clone(&wire.peer), agreed.identity, session_limits);
        if heartbeat.is_none_or(|heartbeat| heartbeat > STAMPED_HEARTBEAT_MAX) {
            session = session.unstamped();
        }
        let user = session.user().to_owned();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        let texts = [name.len(), user.len(), agreed.vhost_name.len()];
        let texts = texts.into_iter().map(allocated).sum::<usize>();
        let client_bytes = allocated(agreed.client.as_bytes().len());
        let entry = Arc::new(OpenConnection {
            peer: Arc::clone(&wire.peer),
            address,
            tls: matches!(wire.writer, ClientWriter::Tls(_)),
            user,
            vhost: agreed.vhost_name,
            name,
            client: agreed.client,
            connected_at: shared.now().unix_s(),
            channel_max: agreed.channel_max,
            frame_max: agreed.frame_max,
            heartbeat_s,
            channels: AtomicUsize::new(0),
            received_bytes: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            kick: Mutex::new(None),
            _charge: shared.memory.charge(texts + client_bytes),
        });
        shared.connections.add(Arc::clone(&entry));
        Self {
            session,
            permit: agreed.permit,
            access_version: agreed.access_version,
            input: shared.memory.charge(0),
            vhost: agreed.vhost,
            frame_max: agreed.frame_max,
            heartbeat,
            blocked_notify: agreed.blocked_notify,
            blocked: false,
            dirty: Vec::new(),
            heard: Instant::now(),
            spoke_bytes: 0,
            closing_until: None,
            more: false,
            settling: false,
            parked: false,
            shared,
            wire,
            entry,
        }
    }

    pub(super) async fn serve(mut self: Box<Self>, stop: CancellationToken) {
        let entry = Arc::clone(&self.entry);
        let (id, name) = (entry.peer.id, cut(&entry.name));
        if self.shared.log.opened.allows() {
            tracing::info!(
                connection.id = id,
                "connection {id} \"{name}\" from {} opened vhost \"{}\" as \"{}\"",
                entry.address,
                cut(&entry.vhost),
                cut(&entry.user)
            );
        }
        let worked = AssertUnwindSafe(self.work_until_closed(&stop)).catch_unwind();
        let ended = worked.await.unwrap_or_else(|panic| {
            report_panic(
                id,
                &*panic,
                &format!("the task of connection {id} panicked"),
            );
            Err(io::Error::other("an internal error"))
        });
        let released = AssertUnwindSafe(self.release()).catch_unwind();
        if let Err(panic) = released.await {
            report_panic(id, &*panic, &format!("the end of connection {id} panicked"));
        }
        self.wire.peer.outbox.close();
        self.shared.connections.remove(id);
        self.announce_closed(&stop).await;
        if ended.is_ok() {
            let patience = self.shared.config.limits.shutdown.get() / 4;
            self.wire.leave(patience).await;
        }
        let log = &self.shared.log;
        match ended {
            Ok(()) if log.closed.allows() => {
                tracing::info!(connection.id = id, "connection {id} closed");
            }
            Err(error) if log.lost.allows() => tracing::warn!(
                connection.id = id,
                "connection {id} \"{name}\" from {} ended: {error}",
                entry.address
            ),
            ended => tracing::debug!(connection.id = id, ?ended, "connection {id} ended"),
        }
        drop(self.permit);
    }

    /// Sends the number of this connection to the listener of closed connections.
    async fn announce_closed(&self, stop: &CancellationToken) {
        let Some(closed) = self.shared.closed.get() else {
            return;
        };
        tokio::select! {
            // Fails when the receiver was dropped.
            _sent = closed.send(self.wire.peer.id) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Gives back what the client holds in the vhost.
    async fn release(&mut self) {
        self.end();
        self.pump();
        while self.settling {
            match self.parked {
                true => self.wire.peer.wake.notified().await,
                false => tokio::task::yield_now().await,
            }
            self.pump();
        }
        if self.more {
            self.vhost.leave_rest();
        }
    }

    async fn work_until_closed(&mut self, stop: &CancellationToken) -> io::Result<()> {
        // Frames may have come along with the last of the handshake.
        let first_tick = Instant::now() + self.tick_every();
        let mut ticker = tokio::time::interval_at(first_tick, self.tick_every());
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Once for all turns: to wait for it takes a lock that all connections share.
        let stopped = stop.cancelled();
        tokio::pin!(stopped);
        loop {
            self.refresh_grant();
            if self.more || self.parked {
                self.pump();
            }
            if self.settling && !self.parked {
                self.wire.writer.flush(&self.wire.peer);
                self.pause(&mut ticker, stopped.as_mut()).await?;
                continue;
            }
            let exhausted = self.parked || self.work();
            self.count_input();
            self.log_raised();
            let flush = self.wire.writer.flush(&self.wire.peer);
            if flush == Flush::Broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if self.session.phase() == SessionPhase::Closed && flush == Flush::Done && !self.parked
            {
                if self.wire.peer.is_flushed() {
                    return Ok(());
                }
                // Another task is writing, and may have looked at the outbox before the last was put there.
                tokio::task::yield_now().await;
                continue;
            }
            if self.wire.peer.resume.load(Relaxed) {
                // This flush, or that of another task, has made room for deliveries.
                self.resume();
                continue;
            }
            let has_room = self.has_room();
            if !exhausted && has_room {
                self.pause(&mut ticker, stopped.as_mut()).await?;
                continue;
            }
            let reads = self.reads_more(has_room);
            let (blocked, closing_until) = (self.blocked, self.closing_until);
            tokio::select! {
                read = self.wire.reader.read(self.wire.frames.input()), if reads => {
                    let count = read?;
                    if count == 0 {
                        return self.eof();
                    }
                    self.heard = Instant::now();
                    self.entry.received_bytes.fetch_add(count as u64, Relaxed);
                }
                written = self.wire.writer.wait(&self.wire.peer), if flush == Flush::Later => {
                    written?;
                }
                () = self.wire.peer.wake.notified() => self.kicked(),
                // More deliveries wait; they do not keep this client from being read.
                () = tokio::task::yield_now(), if self.more => {}
                _ = ticker.tick() => self.tick()?,
                () = self.shared.memory.alarm_ended(), if blocked => self.unblock(),
                () = sleep_until(closing_until), if closing_until.is_some() => return Ok(()),
                () = &mut stopped, if self.session.phase() == SessionPhase::Running => {
                    self.close(SHUTTING_DOWN);
                }
            }
        }
    }

    /// Lets other tasks run before a connection with more to do continues. Heartbeats and a stop do not wait for it.
    async fn pause(
        &mut self,
        ticker: &mut tokio::time::Interval,
        stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<()> {
        tokio::select! {
            biased;
            _ = ticker.tick() => self.tick()?,
            () = stopped, if self.session.phase() == SessionPhase::Running => self.close(SHUTTING_DOWN),
            () = tokio::task::yield_now() => {}
        }
        Ok(())
    }

    fn eof(&self) -> io::Result<()> {
        match self.session.phase() {
            SessionPhase::Running => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the client closed the socket without connection.close",
            )),
            SessionPhase::Closing | SessionPhase::Closed => Ok(()),
        }
    }

    fn has_room(&self) -> bool {
        !self.wire.peer.outbox.is_full() || self.session.phase() != SessionPhase::Running
    }

    /// Whether more bytes may be read. From a client that is blocked or does not read, only as long as little
    /// was read ahead.
    fn reads_more(&mut self, has_room: bool) -> bool {
        let buffered = self.wire.frames.buffered();
        if self.blocked || self.parked {
            self.wire.reader.rest();
            return buffered < AHEAD_BLOCKED_MAX;
        }
        has_room || buffered < AHEAD_MAX
    }

    fn kicked(&mut self) {
        let reason = self.entry.kick.lock().take();
        if let Some(reason) = reason {
            self.close(&reason);
        }
    }

    fn close(&mut self, reason: &str) {
        let exception = Exception::new(ReplyCode::ConnectionForced, reason);
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.close(
            &exception,
            &mut Context {
                vhost: &mut vhost,
                now,
            },
        );
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        if self.session.take_raised().is_some() && self.shared.log.forced.allows() {
            let (id, reason) = (self.wire.peer.id, cut(reason));
            tracing::info!(connection.id = id, "closing connection {id}: {reason}");
        }
        self.pump();
        self.blocked = false;
        self.note_closing(self.shared.config.limits.shutdown.get() / 2);
    }

    fn note_closing(&mut self, patience: Duration) {
        if self.closing_until.is_none() && self.session.phase() != SessionPhase::Running {
            self.closing_until = Some(Instant::now() + patience);
        }
    }

    fn tick_every(&self) -> Duration {
        self.heartbeat.map_or(IDLE_TICK, |heartbeat| heartbeat / 2)
    }

    /// Sends a heartbeat if nothing else was sent. Fails when the client has sent nothing for too long. It
    /// does not while the client is blocked and so many of its bytes wait that its heartbeats cannot be read.
    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.wire.frames.buffered() == 0 && now - self.heard > self.tick_every() {
            self.wire.frames = FrameReader::default();
            self.wire.reader.rest();
        }
        let Some(heartbeat) = self.heartbeat else {
            return Ok(());
        };
        let sent = self.wire.peer.sent_bytes.load(Relaxed);
        if sent == self.spoke_bytes && self.wire.peer.is_flushed() {
            self.wire.peer.outbox.write(put_heartbeat);
        }
        self.spoke_bytes = sent;
        let deaf =
            (self.blocked || self.parked) && self.wire.frames.buffered() >= AHEAD_BLOCKED_MAX;
        if !deaf && now - self.heard > heartbeat * 2 + self.tick_every() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no heartbeat for {} s", (now - self.heard).as_secs()),
            ));
        }
        Ok(())
    }

    fn log_raised(&mut self) {
        if let Some(raised) = self.session.take_raised()
            && self.shared.log.exceptions.allows()
        {
            let (id, name, raised) = (self.wire.peer.id, cut(&self.entry.name), cut(&raised));
            tracing::warn!(
                connection.id = id,
                "connection {id} \"{name}\" from {}: {raised}",
                self.entry.address
            );
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
