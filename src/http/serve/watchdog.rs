//! Ends a connection whose client keeps it waiting for too long.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, sleep};

/// The state of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(in crate::http) enum ConnectionPhase {
    /// Between two requests.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being answered, or a stream is running.
    Busy,
}

impl ConnectionPhase {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Idle,
            1 => Self::Head,
            _ => Self::Busy,
        }
    }
}

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Patience {
    /// With the head of a request.
    pub(in crate::http) head: Duration,
    /// Between two requests.
    pub(in crate::http) idle: Duration,
    /// By not reading what is sent.
    pub(in crate::http) write: Duration,
}

/// The state of a connection, written by the connection and read by its watchdog.
#[derive(Debug)]
pub(in crate::http) struct ConnectionWatchdog {
    phase: AtomicU8,
    /// Counts changes of the phase, so that a phase that was left and entered again is a new one.
    turns: AtomicU32,
    /// Counts successful writes.
    writes: AtomicU32,
    blocked: AtomicBool,
    /// A request waits for the end of what the client sends.
    awaited: AtomicBool,
    disconnected: AtomicBool,
    waiter: AtomicWaker,
    /// The connection is to be closed: too much is held for it.
    is_cut: AtomicBool,
    cut_waiter: AtomicWaker,
}

impl ConnectionWatchdog {
    pub(in crate::http) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(ConnectionPhase::Idle as u8),
            turns: AtomicU32::new(0),
            writes: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            disconnected: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
            is_cut: AtomicBool::new(false),
            cut_waiter: AtomicWaker::new(),
        })
    }

    pub(in crate::http) fn phase(&self) -> ConnectionPhase {
        ConnectionPhase::of(self.phase.load(Ordering::Relaxed))
    }

    pub(in crate::http) fn enter(&self, phase: ConnectionPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.awaited.store(false, Ordering::Relaxed);
        self.disconnected.store(false, Ordering::Relaxed);
    }

    /// Returns when the client has closed its side. Cancel safe.
    pub(in crate::http) async fn disconnected(&self) {
        poll_fn(|cx| {
            self.waiter.register(cx.waker());
            self.awaited.store(true, Ordering::Relaxed);
            match self.disconnected.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// True when a request waits for the client's end, which has not been seen yet.
    pub(in crate::http) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && !self.disconnected.load(Ordering::Relaxed)
    }

    /// The client has closed its side.
    pub(in crate::http) fn mark_disconnected(&self) {
        self.disconnected.store(true, Ordering::Release);
        self.waiter.wake();
    }

    /// Has the connection closed.
    pub(in crate::http) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.cut_waiter.wake();
    }

    pub(in crate::http) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Acquire)
    }

    /// Returns when the connection is to be closed. For one task. Cancel safe.
    pub(in crate::http) async fn until_cut(&self) {
        poll_fn(|cx| {
            self.cut_waiter.register(cx.waker());
            match self.is_cut() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Returns when the client has kept the connection waiting for too long, at most half of that later.
    pub(in crate::http) async fn overdue(&self, patience: Patience) {
        let pause = patience.head.min(patience.idle).min(patience.write) / 2;
        let (mut turn, mut turn_seen) = (self.turn(), Instant::now());
        let (mut write, mut write_seen) = (self.write(), Instant::now());
        loop {
            sleep(pause).await;
            let now = Instant::now();
            if self.turn() != turn {
                (turn, turn_seen) = (self.turn(), now);
            }
            if self.write() != write {
                (write, write_seen) = (self.write(), now);
            }
            let late = match self.phase() {
                // A connection that is still sending is not idle.
                ConnectionPhase::Idle => now - turn_seen.max(write_seen) >= patience.idle,
                ConnectionPhase::Head => now - turn_seen >= patience.head,
                ConnectionPhase::Busy => false,
            };
            let stuck = write.0 && now - write_seen >= patience.write;
            if late || stuck {
                return;
            }
        }
    }

    fn turn(&self) -> u32 {
        self.turns.load(Ordering::Relaxed)
    }

    fn write(&self) -> (bool, u32) {
        let blocked = self.blocked.load(Ordering::Relaxed);
        (blocked, self.writes.load(Ordering::Relaxed))
    }

    pub(in crate::http) fn wrote(&self, progress: bool) {
        if progress {
            // One writer: no need for a locked addition.
            let writes = self.writes.load(Ordering::Relaxed);
            self.writes.store(writes.wrapping_add(1), Ordering::Relaxed);
        }
        self.blocked.store(!progress, Ordering::Relaxed);
    }
}
