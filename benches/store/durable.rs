//! Durable queues and persistent messages of 1 KB, in frames.

use std::net::SocketAddr;

use crate::{
    link::{ACK, Link, NACK, long, method, publish_with, short},
    window::Window,
};

pub(crate) const BODY: usize = 1024;
const DECLARE_OK: u32 = 50_011;
/// Bits of queue.declare.
const PASSIVE: u8 = 1;
const DURABLE: u8 = 2;
/// Flags and value: only a delivery mode, which is 2.
const PERSISTENT: [u8; 3] = [0x10, 0, 2];

fn declaration(out: &mut Vec<u8>, queue: &str, bits: u8) {
    method(out, 1, 50, 10, |out| {
        out.extend_from_slice(&[0, 0]);
        short(out, queue.as_bytes());
        out.push(bits);
        long(out, b"");
    });
}

/// Declares these queues, all before the first answer.
pub(crate) fn declare(link: &mut Link, queues: &[String]) {
    let mut out = Vec::new();
    for queue in queues {
        declaration(&mut out, queue, DURABLE);
    }
    link.write(&out);
    let mut declared = 0;
    while declared < queues.len() {
        link.read(|method| declared += usize::from(method.id == DECLARE_OK));
    }
}

/// How many messages a queue has that nobody holds.
pub(crate) fn ready_messages(addr: SocketAddr, queue: &str) -> u64 {
    let mut link = Link::open(addr);
    let (mut out, mut count) = (Vec::new(), None);
    declaration(&mut out, queue, PASSIVE);
    link.write(&out);
    while count.is_none() {
        link.read(|method| {
            if method.id == DECLARE_OK {
                let at = 1 + usize::from(method.arguments[0]);
                let octets = method.arguments[at..at + 4].try_into();
                count = Some(u32::from_be_bytes(octets.expect("four octets")));
            }
        });
    }
    link.close();
    u64::from(count.unwrap_or_default())
}

/// One publish to this queue.
pub(crate) fn message(queue: &str) -> Vec<u8> {
    let mut out = Vec::new();
    publish_with(&mut out, "", queue, &PERSISTENT, &[b'x'; BODY]);
    out
}

/// basic.consume with acks. Nobody waits for its answer alone: deliveries come with it.
pub(crate) fn consume(link: &mut Link, queue: &str) {
    let mut out = Vec::new();
    method(&mut out, 1, 60, 20, |out| {
        out.extend_from_slice(&[0, 0]);
        short(out, queue.as_bytes());
        short(out, b"");
        out.push(0);
        long(out, b"");
    });
    link.write(&out);
}

/// Puts so many messages into a new queue and waits for all confirms.
pub(crate) fn fill(addr: SocketAddr, queue: &str, count: u64) {
    const BATCH: u64 = 64;
    let mut link = Link::open(addr);
    declare(&mut link, &[queue.to_owned()]);
    link.select_confirms();
    let one = message(queue);
    let batch = one.repeat(usize::try_from(BATCH).expect("a small batch"));
    let mut window = Window::new(64 * BATCH);
    while window.settled() < count {
        while window.sent() < count && window.room() >= BATCH {
            let size = BATCH.min(count - window.sent());
            (0..size).for_each(|_| window.send(0));
            link.write(&batch[..one.len() * usize::try_from(size).expect("a small batch")]);
        }
        link.read(|method| {
            assert!(method.id != NACK, "the broker refused a message");
            if method.id == ACK {
                window.confirm(method, |_| ());
            }
        });
    }
    link.close();
}
