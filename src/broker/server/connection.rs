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
use tokio::{net::TcpStream, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    clock::VhostCell,
    door::Encryption,
    handshake::{Agreed, Client, shake},
    link::{self, Reader, Writer},
    registry::{Entry, Place},
};
use crate::broker::{
    config::bytes,
    exception::Exception,
    peer::{Flush, Peer},
    session::{Phase, Scene, Session, SessionLimits},
    tls,
    vhost::json_table,
    wire::{
        FrameReader, ReplyCode, ShortStr,
        frame::put_heartbeat,
        method::{MethodSpec, connection},
    },
};

/// How many frames are carried out before others have the vhost.
const FRAMES_MAX: usize = 256;
/// How often the outbox is looked at meanwhile.
const OUTBOX_EVERY: usize = 32;
/// How often a connection without heartbeats looks after itself.
const IDLE_TICK: Duration = Duration::from_secs(30);
/// How often a blocked connection looks whether it may go on.
const BLOCKED_TICK: Duration = Duration::from_millis(50);

/// How long a client may go on sending after the end.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The socket failed or was closed.
    Socket(io::Error),
    /// It did not speak AMQP 0-9-1.
    Protocol,
    /// It was refused, for this reason.
    Refused(String),
    /// The handshake took too long.
    Slow,
}

/// A socket with its frames and its outbox.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: Arc<Peer>,
    pub(super) frames: FrameReader,
    reader: Reader,
    writer: Writer,
}

impl Wire {
    /// Waits for more bytes.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        match self.reader.read(self.frames.input()).await {
            Ok(0) => Err(Ended::Socket(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Ended::Socket(error)),
        }
    }

    /// Ends the connection so that the client still reads what it was sent: a socket that is closed
    /// while something comes in takes back what was sent last.
    async fn leave(&mut self) {
        let left = async {
            self.writer.shut().await?;
            loop {
                self.frames = FrameReader::default();
                if self.reader.read(self.frames.input()).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // A client that is gone, or stays, is left all the same.
        let _left = tokio::time::timeout(LINGER, left).await;
    }

    /// Sends a method on channel 0 and sees it off.
    pub(super) async fn send(&mut self, method: &impl MethodSpec) -> Result<(), Ended> {
        self.peer.outbox.put(method, 0);
        self.drain().await
    }

    /// Writes all that waits.
    pub(super) async fn drain(&mut self) -> Result<(), Ended> {
        loop {
            match self.writer.flush(&self.peer) {
                Flush::Done => return Ok(()),
                Flush::Broken => return Err(Ended::Socket(io::ErrorKind::BrokenPipe.into())),
                Flush::Later => self.writer.wait(&self.peer).await.map_err(Ended::Socket)?,
            }
        }
    }
}

/// A client that has just come in.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) encryption: Option<Encryption>,
    pub(super) place: Place,
}

/// Serves one client until it or we have enough.
pub(super) async fn run(shared: Arc<Shared>, arrival: Arrival, stop: CancellationToken) {
    let Arrival {
        socket,
        address,
        encryption,
        place,
    } = arrival;
    // Without it small answers wait for the client's acknowledgements; with it they just go.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!("no TCP_NODELAY for {address}: {error}");
    }
    let handshake = tokio::time::timeout(
        shared.config.limits.handshake,
        arrive(&shared, socket, address, encryption),
    );
    let arrived = tokio::select! {
        () = stop.cancelled() => return,
        arrived = handshake => arrived.unwrap_or(Err(Ended::Slow)),
    };
    match arrived {
        Ok(connection) => connection.serve(stop).await,
        Err(ended) => log_refused(address, &ended),
    }
    drop(place);
}

/// TLS if it has to be, then the AMQP handshake.
async fn arrive(
    shared: &Arc<Shared>,
    socket: TcpStream,
    address: SocketAddr,
    encryption: Option<Encryption>,
) -> Result<Box<Connection>, Ended> {
    let id = shared.next_connection();
    let room = bytes(shared.config.limits.outbox_per_connection);
    let (peer, reader, writer, certified) = match encryption {
        None => {
            let socket = Arc::new(socket);
            let (reader, writer) = link::plain(&socket);
            (Peer::on_socket(id, room, socket), reader, writer, None)
        }
        Some(encryption) => {
            let stream = encryption
                .acceptor
                .accept(socket)
                .await
                .map_err(Ended::Socket)?;
            let chain = stream.get_ref().1.peer_certificates();
            let certified = tls::user_of(chain, encryption.user_from);
            let (reader, writer) = link::tls(stream);
            (Peer::detached(id, room), reader, writer, certified)
        }
    };
    let mut wire = Wire {
        peer: Arc::new(peer),
        frames: FrameReader::default(),
        reader,
        writer,
    };
    let client = Client { address, certified };
    let agreed = match shake(shared, &mut wire, &client).await {
        Ok(agreed) => agreed,
        Err(ended) => {
            if !matches!(ended, Ended::Socket(_)) {
                wire.leave().await;
            }
            return Err(ended);
        }
    };
    Ok(Box::new(Connection::new(
        Arc::clone(shared),
        wire,
        agreed,
        address,
    )))
}

fn log_refused(address: SocketAddr, ended: &Ended) {
    match ended {
        Ended::Socket(error) => tracing::debug!("{address} left before it had logged in: {error}"),
        Ended::Protocol => tracing::warn!("{address} does not speak AMQP 0-9-1"),
        Ended::Refused(why) => tracing::warn!("refused {address}: {why}"),
        Ended::Slow => tracing::warn!("{address} took too long to log in"),
    }
}

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
    closing_since: Option<Instant>,
}

impl Connection {
    fn new(shared: Arc<Shared>, wire: Wire, agreed: Agreed, address: SocketAddr) -> Self {
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
            client: json_table(&agreed.client),
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
            closing_since: None,
            shared,
            wire,
            entry,
        }
    }

    async fn serve(mut self: Box<Self>, stop: CancellationToken) {
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
        self.forget();
        if ended.is_ok() {
            self.wire.leave().await;
        }
        match ended {
            Ok(()) => tracing::info!(connection.id = id, "connection {id} closed"),
            Err(error) => tracing::warn!(
                connection.id = id,
                "connection {id} \"{}\" from {} ended: {error}",
                entry.name,
                entry.address
            ),
        }
        if let Some(closed) = self.shared.closed.get() {
            tokio::select! {
                // Whoever listened has gone.
                _gone = closed.send(id) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Gives back what the client holds and takes it off every list.
    fn forget(&mut self) {
        let id = self.wire.peer.id;
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.end(&mut Scene {
            vhost: &mut vhost,
            now,
        });
        self.vhost.finish(vhost, &mut self.dirty, id);
        self.pump();
        self.wire.peer.outbox.close();
        self.shared.registry.remove(id);
    }

    async fn work_until_closed(&mut self, stop: &CancellationToken) -> io::Result<()> {
        // Frames may have come along with the last of the handshake.
        let mut ticker = tokio::time::interval(self.tick_every());
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let idle = self.work();
            self.log_raised();
            let flush = self.wire.writer.flush(&self.wire.peer);
            if flush == Flush::Broken {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if self.session.phase() == Phase::Closed && flush == Flush::Done {
                return Ok(());
            }
            if self.wire.peer.resume.load(Relaxed) {
                // This flush, or that of another task, has made room for deliveries.
                self.resume();
                continue;
            }
            if !idle {
                tokio::task::yield_now().await;
                continue;
            }
            let room = self.has_room() && !self.blocked;
            let blocked = self.blocked;
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
                _ = ticker.tick() => self.tick()?,
                () = tokio::time::sleep(BLOCKED_TICK), if blocked => self.unblock(),
                () = stop.cancelled(), if self.session.phase() == Phase::Running => {
                    self.close("the broker is shutting down");
                }
            }
        }
    }

    fn eof(&self) -> io::Result<()> {
        match self.session.phase() {
            Phase::Running => Err(io::ErrorKind::UnexpectedEof.into()),
            Phase::Closing | Phase::Closed => Ok(()),
        }
    }

    fn has_room(&self) -> bool {
        !self.wire.peer.outbox.is_full() || self.session.phase() != Phase::Running
    }

    /// Carries out a batch of what has arrived; whether that was all.
    fn work(&mut self) -> bool {
        if self.blocked || self.wire.frames.buffered() == 0 || !self.has_room() {
            return true;
        }
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        let mut scene = Scene {
            vhost: &mut vhost,
            now,
        };
        let mut exhausted = false;
        for count in 1..=FRAMES_MAX {
            if count % OUTBOX_EVERY == 0 && self.wire.peer.outbox.is_full() {
                break;
            }
            match self.wire.frames.next(self.frame_max) {
                Ok(Some(frame)) => self.session.on_frame(frame, &mut scene),
                Ok(None) => {
                    exhausted = true;
                    break;
                }
                Err(error) => {
                    self.session.on_malformed(error, &mut scene);
                    // Nothing after it can be understood.
                    self.wire.frames = FrameReader::default();
                    exhausted = true;
                    break;
                }
            }
            if self.session.phase() == Phase::Closed {
                break;
            }
        }
        self.session.end_batch();
        let more = vhost.pump(now);
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.entry
            .channels
            .store(self.session.channel_count(), Relaxed);
        if more {
            self.pump();
        }
        if self.session.take_published() && self.shared.memory.alarm() {
            self.block();
        }
        self.note_closing();
        exhausted || !self.has_room()
    }

    /// Delivers what is left to deliver, turn by turn.
    fn pump(&mut self) {
        loop {
            let now = self.shared.now();
            let mut vhost = self.vhost.lock();
            let more = vhost.pump(now);
            self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
            if !more {
                return;
            }
        }
    }

    /// Lets the consumers go on that were refused deliveries for want of room.
    fn resume(&mut self) {
        self.wire.peer.resume.store(false, Relaxed);
        let now = self.shared.now();
        let mut vhost = self.vhost.lock();
        self.session.resume(&mut Scene {
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
            &mut Scene {
                vhost: &mut vhost,
                now,
            },
        );
        self.vhost.finish(vhost, &mut self.dirty, self.wire.peer.id);
        self.pump();
        self.blocked = false;
        self.note_closing();
    }

    fn note_closing(&mut self) {
        if self.closing_since.is_none() && self.session.phase() == Phase::Closing {
            self.closing_since = Some(Instant::now());
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
        if self.shared.memory.alarm() {
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
        let closing = self.shared.config.limits.closing;
        if self
            .closing_since
            .is_some_and(|since| now - since >= closing)
        {
            return Ok(());
        }
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
