//! The sending side of one connected client: an outbox and its socket. Any task that appends to the outbox may
//! write to the socket at once.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Notify};

use super::{
    outbox::{Deliver, Outbox, Put},
    queue::ConnectionId,
};

/// How many pieces one write hands to the kernel.
const SLICES_MAX: usize = 64;

/// A connected client.
#[derive(Debug)]
pub struct Peer {
    /// The connection's number.
    pub id: ConnectionId,
    /// Bytes that are not sent yet.
    pub outbox: Outbox,
    /// Wakes the connection's task: to write what could not be written at once, to resume deliveries, or to end.
    pub wake: Notify,
    /// The largest frame agreed.
    pub frame_max: AtomicU32,
    /// Whether the client accepts `basic.cancel` from the server.
    pub cancel_notify: AtomicBool,
    /// Whether a delivery found the outbox full, and there is room now.
    pub resume: AtomicBool,
    /// Whether the vhost has closed a channel of this client.
    pub channel_closed: AtomicBool,
    /// Bytes written to its socket.
    pub sent_bytes: AtomicU64,
    socket: Option<Arc<TcpStream>>,
    writer: Mutex<SocketWriter>,
}

#[derive(Debug, Default)]
struct SocketWriter {
    taken: VecDeque<Bytes>,
    broken: bool,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flush {
    /// Everything was handed to the kernel, or another task is doing that.
    Done,
    /// The socket's buffer is full, or only the connection's task can write.
    Later,
    /// The socket is broken.
    Broken,
}

impl Peer {
    /// A client on a plain socket.
    pub fn on_socket(id: ConnectionId, outbox: Outbox, socket: Arc<TcpStream>) -> Self {
        Self {
            socket: Some(socket),
            ..Self::with_outbox(id, outbox)
        }
    }

    /// A client in the same process.
    pub fn local(id: ConnectionId, room: usize) -> Self {
        let peer = Self {
            outbox: Outbox::local(room),
            ..Self::detached(id, room)
        };
        peer.cancel_notify.store(true, Relaxed);
        peer
    }

    /// A client whose bytes only its own task can write.
    pub fn detached(id: ConnectionId, room: usize) -> Self {
        Self::with_outbox(id, Outbox::new(room))
    }

    /// The same with this outbox.
    pub fn with_outbox(id: ConnectionId, outbox: Outbox) -> Self {
        Self {
            id,
            outbox,
            wake: Notify::new(),
            frame_max: AtomicU32::new(super::wire::frame::MIN_FRAME_MAX),
            cancel_notify: AtomicBool::new(false),
            resume: AtomicBool::new(false),
            channel_closed: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            socket: None,
            writer: Mutex::default(),
        }
    }

    /// Appends a delivery, if there is room.
    pub fn deliver(&self, deliver: &Deliver<'_>) -> Put {
        self.outbox.deliver(deliver)
    }

    /// The largest frame agreed.
    pub fn frame_max(&self) -> u32 {
        self.frame_max.load(Relaxed)
    }

    /// Writes as much as the socket accepts; wakes the connection's task for the rest.
    pub fn flush_now(&self) {
        match self.flush() {
            Flush::Done => {}
            Flush::Later | Flush::Broken => self.wake.notify_one(),
        }
        if self.resume.load(Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Writes as much as the socket accepts.
    pub fn flush(&self) -> Flush {
        let Some(socket) = &self.socket else {
            return if self.outbox.is_scheduled() {
                Flush::Later
            } else {
                Flush::Done
            };
        };
        loop {
            let Some(mut writer) = self.writer.try_lock() else {
                return Flush::Done;
            };
            let flushed = self.write_to(socket, &mut writer);
            drop(writer);
            // A task that appended while this one was writing found the writer locked and left the rest to it.
            if flushed != Flush::Done || !self.outbox.is_scheduled() {
                return flushed;
            }
        }
    }

    /// Moves the waiting bytes to a task that writes to its own socket; none if nothing waits.
    pub fn take(&self) -> Option<VecDeque<Bytes>> {
        let mut taken = VecDeque::new();
        self.outbox.take(&mut taken);
        (!taken.is_empty()).then_some(taken)
    }

    /// Counts what such a task has written.
    pub fn wrote(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
        if self.outbox.wrote(bytes) {
            self.resume.store(true, Relaxed);
        }
    }

    /// Whether everything has been handed to the kernel.
    pub fn is_flushed(&self) -> bool {
        self.outbox.unsent() == 0
    }

    fn write_to(&self, socket: &TcpStream, writer: &mut SocketWriter) -> Flush {
        loop {
            if writer.broken {
                return Flush::Broken;
            }
            self.outbox.take(&mut writer.taken);
            if writer.taken.is_empty() {
                return Flush::Done;
            }
            match write_some(socket, &writer.taken) {
                Ok(0) => writer.broken = true,
                Ok(count) => {
                    advance(&mut writer.taken, count);
                    self.wrote(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.outbox.stall();
                    return Flush::Later;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => writer.broken = true,
            }
            if writer.broken {
                writer.taken.clear();
                self.outbox.close();
            }
        }
    }
}

fn write_some(socket: &TcpStream, chunks: &VecDeque<Bytes>) -> io::Result<usize> {
    if let [only] = chunks.as_slices().0
        && chunks.len() == 1
    {
        return socket.try_write(only);
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(chunks) {
        *slice = IoSlice::new(chunk);
        count += 1;
    }
    socket.try_write_vectored(&slices[..count])
}

/// Drops the first `count` bytes.
pub fn advance(chunks: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = chunks.front_mut() {
        if count < first.len() {
            first.advance(count);
            return;
        }
        count -= first.len();
        chunks.pop_front();
    }
}
