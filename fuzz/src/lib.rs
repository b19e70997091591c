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
    session::{Identity, Phase, Scene, Session, SessionLimits},
    vhost::{Now, Stamp, Vhost},
    wire::{ContentHeader, FrameKind, FrameReader, Method, ShortStr, frame::MIN_FRAME_MAX},
};

pub use methods::{client_method, content};

/// How many clients there are.
pub const CLIENTS: usize = 3;
/// How many turns a vhost may need until it has nothing left to do.
const TURNS_MAX: usize = 10_000;

/// Limits small enough to be met.
fn limits() -> Limits {
    Limits {
        queues: 20,
        exchanges: 20,
        bindings: 40,
        consumers_per_channel: 8,
        settled_at_once: 3,
        message_size: ByteSize(20_000),
        unacked_per_channel: ByteSize(10_000),
        transaction_per_channel: ByteSize(10_000),
        outbox_per_connection: ByteSize(20_000),
        ..Limits::default()
    }
}

/// The rights of a user who may use everything but what begins with an f. Made once.
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
    /// What the client has received, as it would read it.
    received: FrameReader,
}

/// The vhost and its clients.
pub struct Broker {
    vhost: Vhost,
    memory: Arc<Memory>,
    clients: Vec<Client>,
    now: Now,
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
            now: Now { ms: 1, unix_s: 1 },
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
            bytes(limits.outbox_per_connection),
        ));
        // One of them cannot be told that a consumer was cancelled.
        peer.cancel_notify
            .store(self.clients.len() != CLIENTS - 1, Relaxed);
        let identity = Identity {
            connection,
            grant: grant(),
        };
        let session_limits = SessionLimits {
            channel_max: 8,
            message_bytes: limits.message_size.as_u64(),
            tx_bytes: bytes(limits.transaction_per_channel),
        };
        Client {
            session: Session::new(Arc::clone(&peer), identity, session_limits),
            peer,
            frames: FrameReader::default(),
            received: FrameReader::default(),
        }
    }

    /// A client sends bytes.
    pub fn send(&mut self, client: usize, sent: &[u8]) {
        let client = client % CLIENTS;
        let Client {
            session, frames, ..
        } = &mut self.clients[client];
        frames.input().extend_from_slice(sent);
        let mut scene = Scene {
            vhost: &mut self.vhost,
            now: self.now,
        };
        loop {
            match frames.next(MIN_FRAME_MAX) {
                Ok(Some(frame)) => {
                    session.on_frame(frame, &mut scene);
                    while session.is_settling(scene.vhost) {
                        scene.vhost.pump(scene.now);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    session.on_malformed(error, &mut scene);
                    *frames = FrameReader::default();
                    break;
                }
            }
            if session.phase() == Phase::Closed {
                break;
            }
        }
        session.end_batch();
        self.settle();
        if self.clients[client].session.phase() == Phase::Closed {
            self.hang_up(client);
        }
    }

    /// A client sends a method and, where one belongs to it, a content.
    pub fn say(&mut self, client: usize, channel: u16, method: &Method, content: &[u8]) {
        let mut frames = BytesMut::new();
        method.put(&mut frames, channel);
        frames.extend_from_slice(content);
        self.send(client, &frames);
    }

    /// A client's socket breaks; another client comes in its place.
    pub fn hang_up(&mut self, client: usize) {
        let client = client % CLIENTS;
        let mut scene = Scene {
            vhost: &mut self.vhost,
            now: self.now,
        };
        self.clients[client].session.end(&mut scene);
        self.settle();
        self.clients[client] = self.client();
    }

    /// Time goes by.
    pub fn wait(&mut self, ms: u64) {
        self.now.ms += ms;
        self.now.unix_s += ms / 1000;
        let turns = (0..TURNS_MAX)
            .take_while(|_| self.vhost.tick(self.now))
            .count();
        assert!(turns < TURNS_MAX, "the clock has always something to do");
        self.settle();
    }

    /// All clients hang up and all queues are removed: nothing may be left of them.
    pub fn finish(mut self) {
        for client in 0..CLIENTS {
            self.hang_up(client);
        }
        let mut consumers = Vec::new();
        self.vhost.consumers(&mut consumers);
        assert!(
            consumers.is_empty(),
            "consumers without a connection: {consumers:?}"
        );
        assert_eq!(
            self.vhost.channels().count(),
            0,
            "channels without a connection"
        );
        let mut queues = Vec::new();
        self.vhost.queues(&mut queues);
        for queue in queues {
            assert!(
                !queue.exclusive,
                "an exclusive queue without its connection: {queue:?}"
            );
            let name = ShortStr::try_from(queue.name.as_str()).expect("short");
            self.vhost.force_delete(&name).expect("it was there");
            self.settle();
        }
        assert_eq!(self.memory.used(), 0, "bytes of messages that are nowhere");
    }

    /// The vhost does what is left to do, and the clients read.
    fn settle(&mut self) {
        loop {
            let turns = (0..TURNS_MAX)
                .take_while(|_| self.vhost.pump(self.now))
                .count();
            assert!(turns < TURNS_MAX, "there is always something to deliver");
            let mut dirty = Vec::new();
            self.vhost.dirty(&mut dirty);
            drop(self.vhost.garbage());
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
                    session.resume(&mut Scene {
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
}

/// Takes what waits for a client, and checks that it is made of frames that it can understand.
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
