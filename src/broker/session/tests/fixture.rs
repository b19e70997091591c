//! A vhost and clients that speak to it in frames, without a socket.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::broker::{
    auth::{self, Authenticator},
    config::Limits,
    memory::Memory,
    peer::Peer,
    session::{Context, Session, SessionIdentity, SessionLimits, SessionPhase},
    vhost::{BrokerTime, Stamp, Vhost},
    wire::{
        FrameKind, FrameReader, Method, Properties, ShortStr, Table, ValueRef,
        content::put_content,
        method::{MethodSpec, basic, channel, exchange, queue},
        table::TableBuilder,
    },
};

pub(super) const FRAME_MAX: u32 = 131_072;

/// A vhost and its time.
pub(super) struct World {
    pub(super) vhost: Vhost,
    pub(super) now: BrokerTime,
    pub(super) memory: Arc<Memory>,
    next: u64,
    /// The limit on transactions of clients that connect from now on, in bytes.
    pub(super) tx_bytes: usize,
    /// Turns so far, their steps together, and those of the longest.
    pub(super) turns: usize,
    pub(super) steps: i64,
    pub(super) steps_max: i64,
}

/// A client of it.
pub(super) struct Client {
    pub(super) session: Session,
    pub(super) peer: Arc<Peer>,
    frames: FrameReader,
    answers: FrameReader,
}

/// What a client was sent.
#[derive(Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) channel: u16,
    pub(super) method: Method,
    pub(super) properties: Properties,
    pub(super) body: Bytes,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default(), Stamp::default())
    }

    pub(super) fn with(limits: Limits, stamp: Stamp) -> Self {
        let memory = Memory::new(usize::MAX);
        let vhost = Vhost::new("/", limits, Arc::clone(&memory), stamp);
        Self {
            vhost,
            now: BrokerTime {
                ms: 1000,
                unix_ms: 1_700_000_000_000,
            },
            memory,
            next: 1,
            tx_bytes: 1 << 20,
            turns: 0,
            steps: 0,
            steps_max: 0,
        }
    }

    /// One turn without a frame; whether there is more to do.
    pub(super) fn pump(&mut self) -> bool {
        self.vhost.begin_turn();
        let more = self.vhost.pump(self.now);
        self.end_turn();
        more
    }

    /// Something may have been stored: in as many turns as it takes.
    pub(super) fn progress(&mut self) {
        loop {
            self.vhost.begin_turn();
            let more = self.vhost.on_progress(self.now);
            self.end_turn();
            if !more {
                return;
            }
        }
    }

    /// Notes what a turn has cost.
    pub(super) fn end_turn(&mut self) {
        self.turns += 1;
        self.steps += self.vhost.turn_steps();
        self.steps_max = self.steps_max.max(self.vhost.turn_steps());
    }

    /// A client with this many channels open.
    pub(super) fn client(&mut self, channels: u16) -> Client {
        let mut client = self.client_with_room(usize::MAX);
        for number in 1..=channels {
            client.send(self, number, &channel::Open {});
        }
        client.sent();
        client
    }

    pub(super) fn client_with_room(&mut self, room: usize) -> Client {
        let peer = Arc::new(Peer::detached(self.next, room));
        self.next += 1;
        peer.frame_max
            .store(FRAME_MAX, std::sync::atomic::Ordering::Relaxed);
        peer.cancel_notify
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let auth = Authenticator::new(&auth::Config::default(), &auth::Users::new()).unwrap();
        let user = auth
            .login_certified("guest", Ipv4Addr::LOCALHOST.into())
            .unwrap();
        let grant = user.grant("/").unwrap();
        let identity = SessionIdentity {
            connection: peer.id,
            grant,
        };
        let limits = SessionLimits {
            channel_max: 8,
            message_bytes: 1 << 20,
            tx_bytes: self.tx_bytes,
        };
        let session = Session::new(Arc::clone(&peer), identity, limits);
        Client {
            session,
            peer,
            frames: FrameReader::default(),
            answers: FrameReader::default(),
        }
    }

    /// Bytes held, but for queues, exchanges, bindings, consumers and channels.
    pub(super) fn held(&self) -> usize {
        self.memory.used() - self.memory.topology()
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.ms += ms;
        loop {
            self.vhost.begin_turn();
            let more = self.vhost.tick(self.now);
            self.end_turn();
            if !more {
                return;
            }
        }
    }
}

impl Client {
    /// Sends frames and lets them be carried out, in as many turns as it takes.
    pub(super) fn send_bytes(&mut self, world: &mut World, bytes: &[u8]) {
        self.frames.input().extend_from_slice(bytes);
        while !self.turn(world) || self.session.is_busy(&world.vhost) {
            if self.session.is_parked(&world.vhost) {
                world.progress();
            }
        }
        while world.pump() {}
    }

    /// One turn of this client; whether it has sent nothing more.
    pub(super) fn turn(&mut self, world: &mut World) -> bool {
        world.vhost.begin_turn();
        let mut exhausted = false;
        let mut context = Context {
            vhost: &mut world.vhost,
            now: world.now,
        };
        while !self.session.is_busy(context.vhost) && !context.vhost.is_turn_over() {
            match self.frames.next(FRAME_MAX) {
                Ok(Some(frame)) => self.session.on_frame(frame, &mut context),
                Ok(None) => {
                    exhausted = true;
                    break;
                }
                Err(error) => {
                    self.session.on_malformed(error, &mut context);
                    self.frames = FrameReader::default();
                    exhausted = true;
                    break;
                }
            }
        }
        self.session.end_batch();
        world.vhost.pump(world.now);
        world.end_turn();
        exhausted
    }

    /// Gives frames that are not carried out yet.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.frames.input().extend_from_slice(bytes);
    }

    /// Sends one frame and lets it be carried out as far as one turn goes.
    pub(super) fn begin(&mut self, world: &mut World, bytes: &[u8]) {
        self.frames.input().extend_from_slice(bytes);
        let frame = self.frames.next(FRAME_MAX).unwrap().unwrap();
        let mut context = Context {
            vhost: &mut world.vhost,
            now: world.now,
        };
        self.session.on_frame(frame, &mut context);
    }

    pub(super) fn send(&mut self, world: &mut World, channel: u16, method: &impl MethodSpec) {
        let mut out = BytesMut::new();
        method.put(&mut out, channel);
        self.send_bytes(world, &out);
    }

    /// Publishes on channel 1 by the default exchange.
    pub(super) fn publish(&mut self, world: &mut World, queue: &str, body: &str) {
        self.publish_with(world, ("", queue), &Properties::NONE, body);
    }

    pub(super) fn publish_with(
        &mut self,
        world: &mut World,
        (exchange, routing_key): (&str, &str),
        properties: &Properties,
        body: &str,
    ) {
        let publish = basic::Publish {
            exchange: name(exchange),
            routing_key: name(routing_key),
            mandatory: true,
            immediate: false,
        };
        let mut out = BytesMut::new();
        publish.put(&mut out, 1);
        put_content(&mut out, 1, properties, body.as_bytes(), FRAME_MAX);
        self.send_bytes(world, &out);
    }

    pub(super) fn declare(&mut self, world: &mut World, queue: &str, arguments: Table) {
        let declare = queue::Declare {
            queue: name(queue),
            arguments,
            ..Default::default()
        };
        self.send(world, 1, &declare);
        let sent = self.sent();
        assert!(
            matches!(sent[0].method, Method::QueueDeclareOk(_)),
            "{:?}",
            sent[0].method
        );
    }

    pub(super) fn declare_exchange(&mut self, world: &mut World, exchange: &str, kind: &str) {
        let declare = exchange::Declare {
            exchange: name(exchange),
            kind: name(kind),
            ..Default::default()
        };
        self.send(world, 1, &declare);
        let sent = self.sent();
        assert!(
            matches!(sent[0].method, Method::ExchangeDeclareOk(_)),
            "{:?}",
            sent[0].method
        );
    }

    pub(super) fn bind(&mut self, world: &mut World, queue: &str, exchange: &str, key: &str) {
        let bind = queue::Bind {
            queue: name(queue),
            exchange: name(exchange),
            routing_key: name(key),
            ..Default::default()
        };
        self.send(world, 1, &bind);
        let sent = self.sent();
        assert!(
            matches!(sent[0].method, Method::QueueBindOk(_)),
            "{:?}",
            sent[0].method
        );
    }

    pub(super) fn consume(&mut self, world: &mut World, channel: u16, queue: &str, tag: &str) {
        let consume = basic::Consume {
            queue: name(queue),
            consumer_tag: name(tag),
            ..Default::default()
        };
        self.send(world, channel, &consume);
    }

    pub(super) fn qos(&mut self, world: &mut World, channel: u16, count: u16, global: bool) {
        self.send(
            world,
            channel,
            &basic::Qos {
                prefetch_size: 0,
                prefetch_count: count,
                global,
            },
        );
    }

    pub(super) fn ack(&mut self, world: &mut World, channel: u16, tag: u64) {
        self.send(
            world,
            channel,
            &basic::Ack {
                delivery_tag: tag,
                multiple: false,
            },
        );
    }

    pub(super) fn nack(&mut self, world: &mut World, channel: u16, tag: u64, requeue: bool) {
        let nack = basic::Nack {
            delivery_tag: tag,
            multiple: false,
            requeue,
        };
        self.send(world, channel, &nack);
    }

    /// `basic.get` with no_ack: body and properties, or nothing.
    pub(super) fn get(&mut self, world: &mut World, queue: &str) -> Option<Sent> {
        self.send(
            world,
            1,
            &basic::Get {
                queue: name(queue),
                no_ack: true,
            },
        );
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.pop()
            .filter(|sent| matches!(sent.method, Method::BasicGetOk(_)))
    }

    /// The bodies that wait in a queue, which is empty then.
    pub(super) fn drain(&mut self, world: &mut World, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get(world, queue))
            .map(|sent| sent.text())
            .collect()
    }

    /// How many messages wait in a queue.
    pub(super) fn depth(&mut self, world: &mut World, queue: &str) -> Option<u32> {
        let declare = queue::Declare {
            queue: name(queue),
            passive: true,
            ..Default::default()
        };
        self.send(world, 1, &declare);
        match self.sent().pop().map(|sent| sent.method) {
            Some(Method::QueueDeclareOk(declare_ok)) => Some(declare_ok.message_count),
            _ => None,
        }
    }

    /// What came since the last time.
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        let mut chunks = VecDeque::new();
        self.peer.outbox.take(&mut chunks);
        let length = chunks.iter().map(Bytes::len).sum();
        self.peer.wrote(length);
        for chunk in chunks {
            self.answers.input().extend_from_slice(&chunk);
        }
        let mut sent: Vec<Sent> = Vec::new();
        while let Some(frame) = self.answers.next(FRAME_MAX).unwrap() {
            match frame.kind {
                FrameKind::Method => sent.push(Sent {
                    channel: frame.channel,
                    method: Method::decode(frame.payload).unwrap(),
                    properties: Properties::NONE,
                    body: Bytes::new(),
                }),
                FrameKind::Header => {
                    let header = crate::broker::wire::ContentHeader::decode(frame.payload).unwrap();
                    sent.last_mut().unwrap().properties = header.properties.detached();
                }
                FrameKind::Body => {
                    let last = sent.last_mut().unwrap();
                    last.body = [&last.body[..], &frame.payload[..]].concat().into();
                }
                FrameKind::Heartbeat => panic!("a heartbeat nobody asked for"),
            }
        }
        sent
    }

    /// What was delivered since the last time: tag of the consumer, body, delivery tag, redelivered.
    pub(super) fn delivered(&mut self) -> Vec<(String, String, u64, bool)> {
        let sent = self.sent();
        let delivered = sent.iter().filter_map(|sent| match &sent.method {
            Method::BasicDeliver(deliver) => Some((
                deliver.consumer_tag.to_string(),
                sent.text(),
                deliver.delivery_tag,
                deliver.redelivered,
            )),
            _ => None,
        });
        delivered.collect()
    }

    /// Bodies delivered since the last time, in one string.
    pub(super) fn bodies(&mut self) -> String {
        self.delivered()
            .into_iter()
            .map(|(_, body, ..)| body)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The connection breaks.
    pub(super) fn vanish(&mut self, world: &mut World) {
        world.vhost.begin_turn();
        self.session.end(&mut Context {
            vhost: &mut world.vhost,
            now: world.now,
        });
        world.end_turn();
        while world.pump() {}
    }

    pub(super) fn phase(&self) -> SessionPhase {
        self.session.phase()
    }
}

impl Sent {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

pub(super) fn name(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

pub(super) fn table(fields: &[(&str, ValueRef<'_>)]) -> Table {
    let mut builder = TableBuilder::new();
    for (name, value) in fields {
        builder.put(name, *value);
    }
    builder.build()
}

pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Str(text.as_bytes())
}

/// Properties with one short string: the property of this flag bit.
pub(super) fn with_short(bit: u16, text: &str) -> Properties {
    let mut raw = (1u16 << bit).to_be_bytes().to_vec();
    raw.push(u8::try_from(text.len()).unwrap());
    raw.extend_from_slice(text.as_bytes());
    Properties::decode(raw.into()).unwrap()
}

pub(super) fn expiring(ms: &str) -> Properties {
    with_short(8, ms)
}

pub(super) fn with_priority(priority: u8) -> Properties {
    Properties::decode(vec![0x08, 0, priority].into()).unwrap()
}
