//! A client on a plain blocking socket: what it sends and receives are lines of text and, where a test
//! wants that, bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use super::codec::{
    BODY, Frame, HEADER, HEARTBEAT, METHOD, body_size, content_line, field, frames, has_content,
    method_line,
};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How a client introduces itself.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
    pub(super) channel_max: u16,
    pub(super) frame_max: u32,
    pub(super) heartbeat: u16,
    /// Whether it announces what RabbitMQ's own clients can do.
    pub(super) capable: bool,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 0,
            capable: true,
        }
    }
}

const CAPABILITIES: &str = "capabilities=F{publisher_confirms=t1,exchange_exchange_bindings=t1,basic.nack=t1,\
     consumer_cancel_notify=t1,connection.blocked=t1,authentication_failure_close=t1}";

/// What arrives on one channel, in its order.
#[derive(Debug, Default)]
struct Inbox {
    lines: VecDeque<String>,
    confirms: VecDeque<String>,
    /// A content of which parts are missing: the method's line, the header, the body so far.
    partial: Option<(String, Vec<u8>, Vec<u8>)>,
    unconfirmed: BTreeSet<u64>,
    published: u64,
    confirming: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    inboxes: BTreeMap<u16, Inbox>,
    ended: bool,
    pub(super) frame_max: usize,
    /// Answer a close at once, as every client library does.
    pub(super) answers_close: bool,
    /// Heartbeat frames received, with their times.
    pub(super) heartbeats: Vec<Instant>,
}

impl Client {
    /// A socket on which nothing has been said.
    pub(super) fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        Self {
            socket,
            buffer: Vec::new(),
            inboxes: BTreeMap::new(),
            ended: false,
            frame_max: 131_072,
            answers_close: true,
            heartbeats: Vec::new(),
        }
    }

    /// The whole handshake up to open-ok.
    pub(super) fn open(addr: SocketAddr, login: &Login) -> Self {
        let mut client = Self::connect(addr);
        let opened = client.handshake(login);
        assert_eq!(opened, "connection.open-ok", "{login:?}");
        client
    }

    /// The handshake as far as it goes; returns the last answer.
    pub(super) fn handshake(&mut self, login: &Login) -> String {
        self.write(b"AMQP\0\0\x09\x01");
        self.receive(0);
        let capabilities = if login.capable {
            CAPABILITIES
        } else {
            "product=Stest"
        };
        self.send(0, &format!(
            "connection.start-ok client-properties={{{capabilities}}} mechanism=PLAIN locale=en_US response='\\x00{}\\x00{}'",
            login.user, login.password
        ));
        let tune = self.receive(0);
        if !tune.starts_with("connection.tune") {
            return tune;
        }
        self.frame_max = usize::try_from(login.frame_max).unwrap();
        self.send(
            0,
            &format!(
                "connection.tune-ok channel-max={} frame-max={} heartbeat={}",
                login.channel_max, login.frame_max, login.heartbeat
            ),
        );
        self.call(
            0,
            &format!("connection.open virtual-host='{}'", login.vhost),
        )
    }

    /// A login as guest with channel 1 open.
    pub(super) fn ready(addr: SocketAddr) -> Self {
        let mut client = Self::open(addr, &Login::default());
        assert_eq!(client.call(1, "channel.open"), "channel.open-ok");
        client
    }

    /// A second handle on the socket, for a thread that only writes.
    pub(super) fn writer(&self) -> TcpStream {
        self.socket.try_clone().unwrap()
    }

    pub(super) fn write(&mut self, octets: &[u8]) {
        // The peer may have closed already; what it said before that is what tests look at.
        let _closed = self.socket.write_all(octets);
    }

    pub(super) fn send(&mut self, channel: u16, line: &str) {
        let inbox = self.inboxes.entry(channel).or_default();
        if line.starts_with("confirm.select") {
            inbox.confirming = true;
        }
        if line.starts_with("basic.publish") && inbox.confirming {
            inbox.published += 1;
            inbox.unconfirmed.insert(inbox.published);
        }
        let mut out = Vec::new();
        for frame in frames(channel, line, self.frame_max) {
            frame.put(&mut out);
        }
        self.write(&out);
    }

    pub(super) fn send_frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let mut out = Vec::new();
        Frame {
            kind,
            channel,
            payload: payload.to_vec(),
        }
        .put(&mut out);
        self.write(&out);
    }

    /// Sends a line and returns what the channel receives next.
    pub(super) fn call(&mut self, channel: u16, line: &str) -> String {
        self.send(channel, line);
        self.receive(channel)
    }

    /// The next line on a channel, `eof` once the peer has closed.
    pub(super) fn receive(&mut self, channel: u16) -> String {
        self.receive_within(channel, PATIENCE)
            .unwrap_or_else(|| panic!("nothing came on channel {channel}"))
    }

    pub(super) fn receive_within(&mut self, channel: u16, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(line) = self.inboxes.entry(channel).or_default().lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return Some("eof".to_owned());
            }
            self.read_until(deadline)?;
        }
    }

    /// Puts a line back, to be received next.
    pub(super) fn unreceive(&mut self, channel: u16, line: String) {
        self.inboxes
            .entry(channel)
            .or_default()
            .lines
            .push_front(line);
    }

    /// The next confirm on a channel: its verb and the tags it newly settles.
    pub(super) fn confirm(&mut self, channel: u16) -> (String, BTreeSet<u64>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let inbox = self.inboxes.entry(channel).or_default();
            if let Some(line) = inbox.confirms.pop_front() {
                return inbox.settle(&line);
            }
            assert!(!self.ended, "the connection ended before the confirm");
            self.read_until(deadline)
                .unwrap_or_else(|| panic!("no confirm came on channel {channel}"));
        }
    }

    /// Waits until as many publishes as were sent on the channel are acked.
    pub(super) fn all_acked(&mut self, channel: u16) {
        while !self.inboxes[&channel].unconfirmed.is_empty() {
            let (verb, _) = self.confirm(channel);
            assert_eq!(verb, "acked");
        }
    }

    /// Everything that arrives until the line has been silent for `silence`, with its channel.
    pub(super) fn drain(&mut self, silence: Duration) -> Vec<(u16, String)> {
        let mut lines = Vec::new();
        loop {
            for (channel, inbox) in &mut self.inboxes {
                lines.extend(inbox.lines.drain(..).map(|line| (*channel, line)));
                let mut settled: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
                while let Some(line) = inbox.confirms.pop_front() {
                    let (verb, tags) = inbox.settle(&line);
                    settled.entry(verb).or_default().extend(tags);
                }
                for (verb, tags) in settled {
                    lines.push((
                        *channel,
                        tags.iter().fold(verb, |line, tag| format!("{line} {tag}")),
                    ));
                }
            }
            if self.ended || self.read_until(Instant::now() + silence).is_none() {
                return lines;
            }
        }
    }

    /// Whether the peer has closed the socket.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Closes in good order; returns whatever was on its way before close-ok.
    pub(super) fn close(&mut self) -> Vec<(u16, String)> {
        self.send(0, "connection.close reply-code=200");
        let mut before = Vec::new();
        while !self.ended {
            let lines = self.drain(Duration::from_millis(1));
            let closed = lines.iter().any(|(_, line)| line == "connection.close-ok");
            before.extend(
                lines
                    .into_iter()
                    .filter(|(_, line)| line != "connection.close-ok"),
            );
            if closed {
                break;
            }
        }
        before
    }

    /// Reads once from the socket; `None` when the deadline has passed.
    fn read_until(&mut self, deadline: Instant) -> Option<()> {
        let left = deadline.checked_duration_since(Instant::now())?;
        self.socket
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))
            .unwrap();
        let mut chunk = [0; 65_536];
        match self.socket.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(size) => self.buffer.extend_from_slice(&chunk[..size]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            Err(_) => self.ended = true,
        }
        while let Some(frame) = self.cut() {
            self.accept(frame);
        }
        Some(())
    }

    fn cut(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(b"AMQP") && self.buffer.len() >= 8 {
            let header: Vec<u8> = self.buffer.drain(..8).collect();
            self.inboxes
                .entry(0)
                .or_default()
                .lines
                .push_back(format!("header {header:?}"));
        }
        let head = self.buffer.get(..7)?;
        let size =
            usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).unwrap();
        if self.buffer.len() < size + 8 {
            return None;
        }
        let octets: Vec<u8> = self.buffer.drain(..size + 8).collect();
        assert_eq!(
            octets[size + 7],
            0xCE,
            "a frame that does not end: {octets:02x?}"
        );
        assert!(
            size + 8 <= self.frame_max.max(4096),
            "a frame of {size} octets with frame-max {}",
            self.frame_max
        );
        let channel = u16::from_be_bytes([octets[1], octets[2]]);
        Some(Frame {
            kind: octets[0],
            channel,
            payload: octets[7..size + 7].to_vec(),
        })
    }

    fn accept(&mut self, frame: Frame) {
        let inbox = self.inboxes.entry(frame.channel).or_default();
        match frame.kind {
            METHOD => {
                assert!(
                    inbox.partial.is_none(),
                    "a method inside a content: {frame:?}"
                );
                let (class, method, line) = method_line(&frame.payload).unwrap();
                if has_content(class, method) {
                    inbox.partial = Some((line, Vec::new(), Vec::new()));
                    return;
                }
                let close_ok = match line.split(' ').next() {
                    Some("channel.close") => Some("channel.close-ok"),
                    Some("connection.close") => Some("connection.close-ok"),
                    _ => None,
                };
                match line.starts_with("basic.ack") || line.starts_with("basic.nack") {
                    true => inbox.confirms.push_back(line),
                    false => inbox.lines.push_back(line),
                }
                if let Some(close_ok) = close_ok.filter(|_| self.answers_close) {
                    self.send(frame.channel, close_ok);
                }
            }
            HEARTBEAT => self.heartbeats.push(Instant::now()),
            kind => inbox.content(kind, &frame.payload),
        }
    }
}

impl Inbox {
    fn content(&mut self, kind: u8, payload: &[u8]) {
        let (line, mut header, mut body) =
            self.partial.take().expect("a method before its content");
        match kind {
            HEADER => header = payload.to_vec(),
            BODY => body.extend_from_slice(payload),
            other => panic!("frame type {other}"),
        }
        if body.len() as u64 == body_size(&header) {
            self.lines.push_back(line + &content_line(&header, &body));
        } else {
            self.partial = Some((line, header, body));
        }
    }

    /// What a confirm settles: with `multiple`, everything up to its tag.
    fn settle(&mut self, line: &str) -> (String, BTreeSet<u64>) {
        let tag: u64 = field(line, "delivery-tag").parse().unwrap();
        let multiple = line.contains(" multiple");
        let settled: BTreeSet<u64> = match multiple {
            true => self
                .unconfirmed
                .iter()
                .copied()
                .filter(|open| tag == 0 || *open <= tag)
                .collect(),
            false => BTreeSet::from([tag]),
        };
        for tag in settled.iter().filter(|_| self.confirming) {
            assert!(
                self.unconfirmed.remove(tag),
                "'{line}' settles {tag}, which is not open"
            );
        }
        let verb = if line.starts_with("basic.ack") {
            "acked"
        } else {
            "nacked"
        };
        (verb.to_owned(), settled)
    }
}
