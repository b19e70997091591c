//! A vhost with a few clients and no sockets, for the fuzz targets.

mod methods;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
};

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use musterd::broker::{
    auth::{
        Authenticator, Grant, Users,
        config::{PermissionConfig, UserConfig},
    },
    config::{Limits, bytes},
    memory::Memory,
    peer::Peer,
    session::{Context, Session, SessionIdentity, SessionLimits, SessionPhase},
    vhost::{BrokerTime, Stamp, Vhost},
    wire::{ContentHeader, FrameKind, FrameReader, Method, ShortStr, frame::MIN_FRAME_MAX},
};

pub use methods::{client_method, content};

/// How many clients there are.
pub const CLIENTS: usize = 3;
/// Turns after which a vhost must have nothing left to do.
const TURNS_MAX: usize = 10_000;

/// Limits small enough to be reached.
fn limits() -> Limits {
    Limits {
        queues: 20.into(),
        exchanges: 20.into(),
        bindings: 40.into(),
        consumers_per_channel: 8.into(),
        settled_at_once: 3.into(),
        message_size: ByteSize(20_000).into(),
        unacked_per_channel: ByteSize(10_000).into(),
        transaction_per_channel: ByteSize(10_000).into(),
        outbox_per_connection: ByteSize(20_000).into(),
        ..Limits::default()
    }
}

/// A user with all permissions, except for names that begin with an f. Built once.
fn grant() -> Grant {
    static GRANT: OnceLock<Grant> = OnceLock::new();
    let make = || {
        let pattern = "^($|[^f])".to_owned();
        let permissions = PermissionConfig {
            configure: pattern.clone(),
            write: pattern.clone(),
            read: pattern,
        };
        let user = UserConfig {
            permissions: [("/".to_owned(), permissions)].into(),
            ..Default::default()
        };
        let users = Users::from([("guest".to_owned(), user)]);
        let auth = Authenticator::new(&Default::default(), &users).expect("well-formed");
        let user = auth
            .login_certified("guest", IpAddr::V4(Ipv4Addr::LOCALHOST))
            .expect("let in");
        user.grant("/").expect("has permissions")
    };
    GRANT.get_or_init(make).clone()
}

struct Client {
    session: Session,
    peer: Arc<Peer>,
    frames: FrameReader,
    /// Reads what was sent to the client.
    received: FrameReader,
}

/// The vhost and its clients.
pub struct Broker {
    vhost: Vhost,
    memory: Arc<Memory>,
    clients: Vec<Client>,
    now: BrokerTime,
}

impl Default for Broker {
    fn default() -> Self {
        let limits = limits();
        let memory = Memory::new(1 << 20);
        let vhost = Vhost::new("/", limits.clone(), Arc::clone(&memory), Stamp::default());
        let mut broker = Self {
            vhost,
            memory,
            clients: Vec::new(),
            now: BrokerTime { ms: 1, unix_ms: 1000 },
        };
        for _ in 0..CLIENTS {
            let client = broker.client();
            broker.clients.push(client);
        }
        broker
    }
}

impl Broker {
    fn client(&self) -> Client {
        let limits = limits();
        let connection = self.now.ms << 8 | self.clients.len() as u64 + 1;
        let peer = Arc::new(Peer::detached(
            connection,
            bytes(*limits.outbox_per_connection),
        ));
        // One of them does not support consumer_cancel_notify.
        peer.cancel_notify
            .store(self.clients.len() != CLIENTS - 1, Relaxed);
        let identity = SessionIdentity {
            connection,
            grant: grant(),
        };
        let session_limits = SessionLimits {
            channel_max: 8,
            message_bytes: limits.message_size.as_u64(),
            tx_bytes: bytes(*limits.transaction_per_channel),
        };
        Client {
            session: Session::new(Arc::clone(&peer), identity, session_limits),
            peer,
            frames: FrameReader::default(),
            received: FrameReader::default(),
        }
    }

    /// A client sends bytes; they are handled in as many turns as they need.
    pub fn send(&mut self, client: usize, sent: &[u8]) {
        let client = client % CLIENTS;
        self.clients[client].frames.input().extend_from_slice(sent);
        let done = (0..TURNS_MAX).any(|_| self.turn(client));
        assert!(done, "the frames of a client need too many turns");
        self.settle();
        if self.clients[client].session.phase() == SessionPhase::Closed {
            self.hang_up(client);
        }
    }

    /// One turn of a client; whether all its frames are handled.
    fn turn(&mut self, client: usize) -> bool {
        let Client {
            session, frames, ..
        } = &mut self.clients[client];
        self.vhost.begin_turn();
        let mut context = Context {
            vhost: &mut self.vhost,
            now: self.now,
        };
        let mut exhausted = false;
        while !exhausted && !session.is_busy(context.vhost) && !context.vhost.is_turn_over() {
            match frames.next(MIN_FRAME_MAX) {
                Ok(Some(frame)) => session.on_frame(frame, &mut context),
                Ok(None) => exhausted = true,
                Err(error) => {
                    session.on_malformed(error, &mut context);
                    *frames = FrameReader::default();
                    exhausted = true;
                }
            }
            exhausted |= session.phase() == SessionPhase::Closed;
        }
        session.end_batch();
        self.vhost.pump(self.now);
        exhausted && !session.is_busy(&self.vhost)
    }

    /// A client sends a method and its content, if it has one.
    pub fn say(&mut self, client: usize, channel: u16, method: &Method, content: &[u8]) {
        let mut frames = BytesMut::new();
        method.put(&mut frames, channel);
        frames.extend_from_slice(content);
        self.send(client, &frames);
    }

    /// A client disconnects; a new one takes its place.
    pub fn hang_up(&mut self, client: usize) {
        let client = client % CLIENTS;
        self.vhost.begin_turn();
        self.clients[client].session.end(&mut Context {
            vhost: &mut self.vhost,
            now: self.now,
        });
        self.settle();
        self.clients[client] = self.client();
    }

    /// Advances the clock.
    pub fn wait(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_ms += ms;
        self.turns("the clock always has something to do", Vhost::tick);
        self.settle();
    }

    /// Disconnects all clients and deletes all queues. Panics if anything of them is left.
    pub fn finish(mut self) {
        for client in 0..CLIENTS {
            self.hang_up(client);
        }
        self.vhost.begin_turn();
        let mut consumers = Vec::new();
        assert_eq!(self.vhost.consumers(0, &mut consumers), None);
        assert!(
            consumers.is_empty(),
            "consumers without a connection: {consumers:?}"
        );
        let mut channels = Vec::new();
        let name = |connection: u64| connection.to_string();
        assert_eq!(self.vhost.channels(0, &name, &mut channels), None);
        assert!(
            channels.is_empty(),
            "channels without a connection: {channels:?}"
        );
        let mut queues = Vec::new();
        assert_eq!(self.vhost.queues(0, &mut queues), None);
        for queue in queues {
            assert!(
                !queue.exclusive,
                "an exclusive queue without its connection: {queue:?}"
            );
            let name = ShortStr::try_from(queue.name.as_str()).expect("short");
            self.vhost.begin_turn();
            self.vhost
                .force_delete(&name, self.now)
                .expect("it was listed");
            self.settle();
        }
        let held = self.memory.used() - self.memory.topology();
        assert_eq!(held, 0, "bytes of messages that are in no queue");
    }

    /// Lets the vhost do its remaining work and the clients read.
    fn settle(&mut self) {
        loop {
            self.turns("there is always something to deliver", Vhost::pump);
            self.vhost.dirty(&mut Vec::new());
            let mut resumed = false;
            for Client {
                session,
                peer,
                received,
                ..
            } in &mut self.clients
            {
                read(peer, received);
                if peer.resume.swap(false, Relaxed) {
                    session.resume(&mut Context {
                        vhost: &mut self.vhost,
                        now: self.now,
                    });
                    resumed = true;
                }
            }
            if !resumed {
                return;
            }
        }
    }

    /// Turns of the vhost until `work` says that nothing is left.
    fn turns(&mut self, endless: &str, work: fn(&mut Vhost, BrokerTime) -> bool) {
        let done = (0..TURNS_MAX).any(|_| {
            self.vhost.begin_turn();
            !work(&mut self.vhost, self.now)
        });
        assert!(done, "{endless}");
    }
}

/// Takes what waits for a client. Panics if it is not a sequence of valid frames.
fn read(peer: &Peer, received: &mut FrameReader) {
    let chunks: VecDeque<Bytes> = peer.take().unwrap_or_default();
    let mut len = 0;
    for chunk in &chunks {
        received.input().extend_from_slice(chunk);
        len += chunk.len();
    }
    peer.wrote(len);
    while let Some(frame) = received.next(MIN_FRAME_MAX).expect("well-formed frames") {
        match frame.kind {
            FrameKind::Method => drop(Method::decode(frame.payload).expect("a method")),
            FrameKind::Header => drop(ContentHeader::decode(frame.payload).expect("a header")),
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
    }
    assert_eq!(received.buffered(), 0, "half a frame");
}
