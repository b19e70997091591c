//! A load generator's connection: frames built once and written in bulk, answers skimmed. It knows as
//! much of AMQP as it needs to be faster than any broker.

use std::hint::spin_loop;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;

/// Method ids: class times 1,000 and method.
pub(crate) const DELIVER: u32 = 60_060;
pub(crate) const ACK: u32 = 60_080;
pub(crate) const NACK: u32 = 60_120;

const BUFFER: usize = 512 * 1024;

/// A method that was read, with its content if it is a delivery (whose body fits one frame).
pub(crate) struct Method<'a> {
    pub(crate) id: u32,
    pub(crate) arguments: &'a [u8],
    header: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Method<'_> {
    /// The delivery tag of a delivery (behind the consumer's tag) or of an ack.
    pub(crate) fn tag(&self) -> u64 {
        let skip = if self.id == DELIVER {
            1 + usize::from(self.arguments[0])
        } else {
            0
        };
        u64::from_be_bytes(
            self.arguments[skip..skip + 8]
                .try_into()
                .expect("eight octets"),
        )
    }

    /// The reply address, for a content that has no other property.
    pub(crate) fn reply_to(&self) -> &str {
        let text = self.header.get(15..).expect("a content with a property");
        std::str::from_utf8(text).expect("an address in ASCII")
    }

    /// Whether an ack settles everything up to its tag.
    pub(crate) fn multiple(&self) -> bool {
        self.arguments[8] & 1 == 1
    }
}

/// One connection with channel 1 open.
pub(crate) struct Link {
    socket: TcpStream,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

/// How it waits for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The thread sleeps until something comes, and leaves its core to the broker.
    Asleep,
    /// It asks again and again: what a sleeping thread takes to wake would count as the broker's latency.
    Awake,
}

impl Link {
    pub(crate) fn open(addr: SocketAddr) -> Self {
        Self::open_by(addr, Waiting::Asleep)
    }

    pub(crate) fn open_by(addr: SocketAddr, waiting: Waiting) -> Self {
        let socket = TcpStream::connect(addr).expect("the broker listens");
        socket.set_nodelay(true).expect("a TCP socket");
        let awake = waiting == Waiting::Awake;
        socket.set_nonblocking(awake).expect("a TCP socket");
        let mut link = Self {
            socket,
            buffer: vec![0; 64 * 1024],
            begin: 0,
            end: 0,
        };
        link.write(b"AMQP\0\0\x09\x01");
        link.wait_for(10_010);
        let mut out = Vec::new();
        method(&mut out, 0, 10, 11, |out| {
            out.extend_from_slice(&[0; 4]);
            short(out, b"PLAIN");
            long(out, b"\0guest\0guest");
            short(out, b"en_US");
        });
        link.write(&out);
        link.wait_for(10_030);
        out.clear();
        // channel_max 2047, frame_max 131072, no heartbeat.
        method(&mut out, 0, 10, 31, |out| {
            out.extend_from_slice(&[7, 0xFF, 0, 2, 0, 0, 0, 0]);
        });
        method(&mut out, 0, 10, 40, |out| {
            out.extend_from_slice(b"\x01/\0\0");
        });
        link.write(&out);
        link.wait_for(10_041);
        link.call(20, 10, |out| out.push(0));
        link
    }

    /// Closes channel and connection in good order.
    pub(crate) fn close(mut self) {
        let reason = |out: &mut Vec<u8>| out.extend_from_slice(&[0, 200, 0, 0, 0, 0, 0]);
        self.call(20, 40, reason);
        let mut out = Vec::new();
        method(&mut out, 0, 10, 50, reason);
        self.write(&out);
        self.wait_for(10_051);
    }

    pub(crate) fn write(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !rest.is_empty() {
            match now(self.socket.write(rest)).expect("the broker reads") {
                Some(size) => rest = &rest[size..],
                None => spin_loop(),
            }
        }
    }

    /// Sends a method on channel 1 and waits for its -ok; contents and acks on the way are dropped.
    pub(crate) fn call(&mut self, class: u16, id: u16, arguments: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        method(&mut out, 1, class, id, arguments);
        self.write(&out);
        self.wait_for(u32::from(class) * 1000 + u32::from(id) + 1);
    }

    fn wait_for(&mut self, wanted: u32) {
        let mut seen = false;
        while !seen {
            self.read(|method| seen |= method.id == wanted);
        }
    }

    pub(crate) fn declare_queue(&mut self, name: &str, arguments: &[u8]) {
        self.call(50, 10, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, name.as_bytes());
            out.push(0);
            long(out, arguments);
        });
    }

    pub(crate) fn delete_queue(&mut self, name: &str) {
        self.call(50, 40, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, name.as_bytes());
            out.push(0);
        });
    }

    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.call(40, 10, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, name.as_bytes());
            short(out, kind.as_bytes());
            out.extend_from_slice(&[0; 5]);
        });
    }

    pub(crate) fn delete_exchange(&mut self, name: &str) {
        self.call(40, 20, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, name.as_bytes());
            out.push(0);
        });
    }

    pub(crate) fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        self.call(50, 20, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, queue.as_bytes());
            short(out, exchange.as_bytes());
            short(out, key.as_bytes());
            out.extend_from_slice(&[0; 5]);
        });
    }

    pub(crate) fn prefetch(&mut self, count: u16) {
        self.call(60, 10, |out| {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&count.to_be_bytes());
            out.push(0);
        });
    }

    pub(crate) fn select_confirms(&mut self) {
        self.call(85, 10, |out| out.push(0));
    }

    pub(crate) fn consume(&mut self, queue: &str, acks: Acks) {
        self.call(60, 20, |out| {
            out.extend_from_slice(&[0, 0]);
            short(out, queue.as_bytes());
            short(out, b"");
            out.push(if acks == Acks::None { 2 } else { 0 });
            out.extend_from_slice(&[0; 4]);
        });
    }

    /// Waits for something from the socket and shows each method that is all there.
    pub(crate) fn read(&mut self, mut each: impl FnMut(&Method<'_>)) {
        while !self.look(&mut each) {
            spin_loop();
        }
    }

    /// Reads once from the socket; false when nothing is there and it does not sleep for it.
    fn look(&mut self, each: &mut impl FnMut(&Method<'_>)) -> bool {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            if self.end > self.buffer.len() / 2 {
                self.buffer.resize(BUFFER.max(self.buffer.len() * 2), 0);
            }
        }
        let read = self.socket.read(&mut self.buffer[self.end..]);
        let Some(size) = now(read).expect("the broker writes") else {
            return false;
        };
        assert!(size > 0, "the broker closed the connection");
        self.end += size;
        while let Some((payload_at, next)) = self.frame(self.begin) {
            if self.buffer[self.begin] != 1 {
                self.begin = next;
                continue;
            }
            let Some((header, body, after)) = self.content(payload_at, next) else {
                break;
            };
            let payload = &self.buffer[payload_at..next - 1];
            let id = u32::from(u16::from_be_bytes([payload[0], payload[1]])) * 1000
                + u32::from(u16::from_be_bytes([payload[2], payload[3]]));
            assert!(
                !matches!(id, 10_050 | 20_040),
                "refused: {}",
                String::from_utf8_lossy(&payload[6..])
            );
            each(&Method {
                id,
                arguments: &payload[4..],
                header: &self.buffer[header],
                body: &self.buffer[body],
            });
            self.begin = after;
        }
        true
    }

    /// Where the payload of the frame at `at` begins and where the next frame does; nothing if it is not all there.
    fn frame(&self, at: usize) -> Option<(usize, usize)> {
        let head: [u8; 7] = self.buffer.get(at..at + 7)?.try_into().ok()?;
        let size =
            usize::try_from(u32::from_be_bytes([head[3], head[4], head[5], head[6]])).ok()?;
        let next = at + 8 + size;
        (next <= self.end).then_some((at + 7, next))
    }

    /// Header and body of a delivery, and where the frame behind it begins.
    fn content(
        &self,
        payload_at: usize,
        next: usize,
    ) -> Option<(Range<usize>, Range<usize>, usize)> {
        if self.buffer[payload_at..payload_at + 4] != [0, 60, 0, 60] {
            return Some((0..0, 0..0, next));
        }
        let (header_at, after_header) = self.frame(next)?;
        let header = header_at..after_header - 1;
        if self.buffer[header_at + 4..header_at + 12] == [0; 8] {
            return Some((header, 0..0, after_header));
        }
        let (body_at, after_body) = self.frame(after_header)?;
        Some((header, body_at..after_body - 1, after_body))
    }
}

/// Nothing when it would have to wait.
fn now(outcome: Result<usize>) -> Result<Option<usize>> {
    match outcome {
        Ok(size) => Ok(Some(size)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Who acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    None,
    Each,
}

/// One method frame.
pub(crate) fn method(
    out: &mut Vec<u8>,
    channel: u16,
    class: u16,
    id: u16,
    arguments: impl FnOnce(&mut Vec<u8>),
) {
    out.push(1);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    arguments(out);
    let size = u32::try_from(out.len() - size_at - 4).expect("a small frame");
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(0xCE);
}

/// A whole publish: method, header, body. `reply_to` is the only property.
pub(crate) fn publish(out: &mut Vec<u8>, exchange: &str, key: &str, reply_to: &str, body: &[u8]) {
    if reply_to.is_empty() {
        return publish_with(out, exchange, key, &[0, 0], body);
    }
    let mut properties = vec![2, 0];
    short(&mut properties, reply_to.as_bytes());
    publish_with(out, exchange, key, &properties, body);
}

/// The same with any properties: their flags and values.
pub(crate) fn publish_with(
    out: &mut Vec<u8>,
    exchange: &str,
    key: &str,
    properties: &[u8],
    body: &[u8],
) {
    method(out, 1, 60, 40, |out| {
        out.extend_from_slice(&[0, 0]);
        short(out, exchange.as_bytes());
        short(out, key.as_bytes());
        out.push(0);
    });
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(body.len() as u64).to_be_bytes());
    header.extend_from_slice(properties);
    frame(out, 2, &header);
    if !body.is_empty() {
        frame(out, 3, body);
    }
}

/// One ack frame.
pub(crate) fn ack(out: &mut Vec<u8>, tag: u64) {
    method(out, 1, 60, 80, |out| {
        out.extend_from_slice(&tag.to_be_bytes());
        out.push(0);
    });
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    out.extend_from_slice(&[kind, 0, 1]);
    long(out, payload);
    out.push(0xCE);
}

/// A short string: its length in one octet.
pub(crate) fn short(out: &mut Vec<u8>, text: &[u8]) {
    out.push(u8::try_from(text.len()).expect("a short string"));
    out.extend_from_slice(text);
}

/// A long string, or a table: its length in four octets.
pub(crate) fn long(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(
        &u32::try_from(octets.len())
            .expect("fewer than 4 GiB")
            .to_be_bytes(),
    );
    out.extend_from_slice(octets);
}
