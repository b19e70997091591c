//! The task of one connection: reads, lets the session work in its vhost, writes, watches the time.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Shared, clock::VhostCell, handshake::Agreed, link::Writer, registry::Entry, wire::Wire,
};
use crate::broker::{
    config::bytes,
    exception::Exception,
    peer::{Flush, Peer},
    session::{Context, Phase, Session, SessionLimits},
    wire::{FrameReader, ReplyCode, ShortStr, frame::put_heartbeat, method::connection},
};

/// How many frames are carried out before others have the vhost.
const FRAMES_MAX: usize = 256;
/// So many bytes are read of a client for whose answers there is no room.
const AHEAD_MAX: usize = 64 * 1024;
/// How often the outbox is looked at meanwhile.
const OUTBOX_EVERY: usize = 32;
/// How often a connection without heartbeats looks after itself.
const IDLE_TICK: Duration = Duration::from_secs(30);
/// How often a blocked connection looks whether it may go on.
const BLOCKED_TICK: Duration = Duration::from_millis(50);

/// A connection that has opened its vhost.
pub(super) struct Connection {
    shared: Arc<Shared>,
    wire: Wire,
    session: Session,
    vhost: Arc<VhostCell>,
    entry: Arc<Entry>,
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
    /// Whether something that the client has asked for is not carried out to its end.
    settling: bool,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        wire: Wire,
        agreed: Agreed,
        address: SocketAddr,
    ) -> Self {
        let limits = &shared.config.limits;
        let session_limits = SessionLimits {
            channel_max: agreed.channel_max,
            message_bytes: limits.message_size.as_u64(),
            tx_bytes: bytes(limits.transaction_per_channel),
        };
        let heartbeat_s = agreed.heartbeat_s;
        let name = agreed
            .client
            .field(b"connection_name")
            .and_then(|name| name.as_str_bytes());
        let entry = Arc::new(Entry {
            peer: Arc::clone(&wire.peer),
            address,
            tls: matches!(wire.writer, Writer::Tls(_)),
            user: agreed.identity.grant.user().to_owned(),
            vhost: agreed.vhost_name,
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            client: agreed.client,
            connected_at: shared.now().unix_s,
            channel_max: agreed.channel_max,
            frame_max: agreed.frame_max,
            heartbeat_s,
            channels: AtomicUsize::new(0),
            received_bytes: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            kick: Mutex::new(None),
        });
        shared.registry.add(Arc::clone(&entry));
        Self {
            session: Session::new(Arc::clone(&wire.peer), agreed.identity, session_limits),
            vhost: agreed.vhost,
            frame_max: agreed.frame_max,
            heartbeat: (heartbeat_s > 0).then(|| Duration::from_secs(heartbeat_s.into())),
            blocked_notify: agreed.blocked_notify,
            blocked: false,
            dirty: Vec::new(),
            heard: Instant::now(),
            spoke_bytes: 0,
            closing_until: None,
            more: false,
            settling: false,
            shared,
            wire,
            entry,
        }
    }

    pub(super) async fn serve(mut self: Box<Self>, stop: CancellationToken) {
        let entry = Arc::clone(&self.entry);
        let id = entry.peer.id;
        tracing::info!(
            connection.id = id,
            "connection {id} \"{}\" from {} opened vhost \"{}\" as \"{}\"",
            entry.name,
            entry.address,
            entry.vhost,
            entry.user
        );
        let ended = self.work_until_closed(&stop).await;
        self.forget().await;
        self.tell(&stop).await;
        if ended.is_ok() {
            self.wire.leave().await;
        }
        match ended {
            Ok(()) => tracing::info!(connection.id = id, "connection {id} closed"),
            Err(error) if self.shared.losses.count() => tracing::warn!(
                connection.id = id,
                "connection {id} \"{}\" from {} ended: {error}",
                entry.name,
                entry.address
            ),
            Err(error) => tracing::debug!(connection.id = id, "connection {id} ended: {error}"),
        }
    }

    /// Tells whoever listens that this connection has ended.
    async fn tell(&self, stop: &CancellationToken) {
        let Some(closed) = self.shared.closed.get() else {
            return;
        };
        tokio::select! {
            // Whoever listened has gone.
            _gone = closed.send(self.wire.peer.id) => {}
            () = stop.cancelled() => {}
        }
    }

    /// Gives back what the client holds and takes it off every list.
    async fn forget(&mut self) {
        let id = self.wire.peer.id;
        self.end();
        self.pump();
        while self.settling {
            tokio::task::yield_now().await;
            self.pump();
        }
        if self.more {
            self.vhost.leave_rest();
        }
        self.wire.peer.outbox.close();
        self.shared.registry.remove(id);
    }

    fn end(&mut self) {
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.end(&mut Context {
            vhost: &mut vhost,
            now,
        });
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
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
            if self.more {
                self.pump();
            }
            if self.settling {
                tokio::task::yield_now().await;
                continue;
            }
            let exhausted = self.work();
            self.log_raised();
            let flush = self.wire.writer.flush(&self.wire.peer);
            if flush == Flush::Broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if self.session.phase() == Phase::Closed && flush == Flush::Done {
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
                tokio::task::yield_now().await;
                continue;
            }
            // Also of a client that does not read: its signs of life are among what it sends.
            let room = !self.blocked && (has_room || self.wire.frames.buffered() < AHEAD_MAX);
            let (blocked, closing_until) = (self.blocked, self.closing_until);
            tokio::select! {
                read = self.wire.reader.read(self.wire.frames.input()), if room => {
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
                // What others have left to deliver does not keep this client from being heard.
                () = tokio::task::yield_now(), if self.more => {}
                _ = ticker.tick() => self.tick()?,
                () = tokio::time::sleep(BLOCKED_TICK), if blocked => self.unblock(),
                () = sleep_until(closing_until), if closing_until.is_some() => return Ok(()),
                () = &mut stopped, if self.session.phase() == Phase::Running => {
                    self.close("the broker is shutting down");
                }
            }
        }
    }

    fn eof(&self) -> io::Result<()> {
        match self.session.phase() {
            Phase::Running => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the client closed the socket without connection.close",
            )),
            Phase::Closing | Phase::Closed => Ok(()),
        }
    }

    fn has_room(&self) -> bool {
        !self.wire.peer.outbox.is_full() || self.session.phase() != Phase::Running
    }

    /// Carries out a batch of what has arrived; whether that was all.
    fn work(&mut self) -> bool {
        if self.blocked || self.wire.frames.buffered() == 0 {
            return true;
        }
        if !self.has_room() {
            return false;
        }
        let now = self.shared.now();
        let short = self.shared.is_short_of_memory();
        let mut vhost = self.vhost.lock();
        let mut context = Context {
            vhost: &mut vhost,
            now,
        };
        let mut exhausted = false;
        for count in 1..=FRAMES_MAX {
            if count % OUTBOX_EVERY == 0 && self.wire.peer.outbox.is_full() {
                break;
            }
            match self.wire.frames.next(self.frame_max) {
                Ok(Some(frame)) => self.session.on_frame(frame, &mut context),
                Ok(None) => {
                    exhausted = true;
                    break;
                }
                Err(error) => {
                    self.session.on_malformed(error, &mut context);
                    // Nothing after it can be understood.
                    self.wire.frames = FrameReader::default();
                    exhausted = true;
                    break;
                }
            }
            // Nothing that follows a publish is carried out while memory is short, nor what follows
            // something that takes more than one turn.
            if context.vhost.is_turn_over()
                || self.session.phase() == Phase::Closed
                || short && self.session.has_published()
                || self.session.is_busy(context.vhost)
            {
                break;
            }
        }
        self.session.end_batch();
        self.more = vhost.pump(now);
        self.settling = self.session.is_busy(&vhost);
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.entry
            .channels
            .store(self.session.channel_count(), Relaxed);
        if self.session.take_published() && self.shared.is_short_of_memory() {
            self.block();
        }
        self.note_closing(self.shared.config.limits.closing);
        exhausted || self.blocked
    }

    /// One turn of what is left to deliver.
    fn pump(&mut self) {
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.more = vhost.pump(now);
        self.settling = self.session.is_busy(&vhost);
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
    }

    /// Lets the consumers go on that were refused deliveries for want of room.
    fn resume(&mut self) {
        self.wire.peer.resume.store(false, Relaxed);
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.resume(&mut Context {
            vhost: &mut vhost,
            now,
        });
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.pump();
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
        // Nothing went wrong: it is what somebody wanted.
        if self.session.take_raised().is_some() {
            let id = self.wire.peer.id;
            tracing::info!(
                connection.id = id,
                "connection {id} is being closed: {reason}"
            );
        }
        self.pump();
        self.blocked = false;
        self.note_closing(self.shared.config.limits.shutdown / 2);
    }

    fn note_closing(&mut self, patience: Duration) {
        if self.closing_until.is_none() && self.session.phase() != Phase::Running {
            self.closing_until = Some(Instant::now() + patience);
        }
    }

    fn block(&mut self) {
        self.blocked = true;
        self.entry.blocked.store(true, Relaxed);
        if self.blocked_notify {
            let reason = ShortStr::from_static("low on memory");
            self.wire
                .peer
                .outbox
                .put(&connection::Blocked { reason }, 0);
        }
    }

    fn unblock(&mut self) {
        if self.shared.is_short_of_memory() {
            return;
        }
        self.blocked = false;
        self.heard = Instant::now();
        self.entry.blocked.store(false, Relaxed);
        if self.blocked_notify {
            self.wire.peer.outbox.put(&connection::Unblocked {}, 0);
        }
    }

    fn tick_every(&self) -> Duration {
        self.heartbeat.map_or(IDLE_TICK, |heartbeat| heartbeat / 2)
    }

    /// Sends a sign of life if nothing else was sent, and ends what gives none.
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
        if !self.blocked && now - self.heard > heartbeat * 2 + self.tick_every() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no heartbeat for {} s", (now - self.heard).as_secs()),
            ));
        }
        Ok(())
    }

    fn log_raised(&mut self) {
        if let Some(raised) = self.session.take_raised() {
            let id = self.wire.peer.id;
            tracing::warn!(
                connection.id = id,
                "connection {id} \"{}\" from {}: {raised}",
                self.entry.name,
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
