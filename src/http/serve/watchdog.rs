//! How a connection is getting on, seen from outside of it: who keeps it waiting, and for how long.

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

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(in crate::http) enum Phase {
    /// Between two requests.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being answered, or a stream is running.
    Busy,
}

impl Phase {
    fn of(number: u8) -> Self {
        match number {
            0 => Self::Idle,
            1 => Self::Head,
            _ => Self::Busy,
        }
    }
}

/// How long each party may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Patience {
    pub(in crate::http) head: Duration,
    pub(in crate::http) idle: Duration,
    pub(in crate::http) write: Duration,
}

/// What a connection is doing, told by the connection and read by its watchdog.
#[derive(Debug)]
pub(in crate::http) struct ConnectionWatchdog {
    phase: AtomicU8,
    /// Counts changes of the phase, so that two looks at the same phase can be told apart.
    turns: AtomicU32,
    /// Counts successful writes.
    writes: AtomicU32,
    blocked: AtomicBool,
    /// Somebody waits for the client's end.
    awaited: AtomicBool,
    gone: AtomicBool,
    waiter: AtomicWaker,
}

impl ConnectionWatchdog {
    pub(in crate::http) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Idle as u8),
            turns: AtomicU32::new(0),
            writes: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
        })
    }

    pub(in crate::http) fn phase(&self) -> Phase {
        Phase::of(self.phase.load(Ordering::Relaxed))
    }

    pub(in crate::http) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.awaited.store(false, Ordering::Relaxed);
        self.gone.store(false, Ordering::Relaxed);
    }

    /// Returns when the client has no more to say. Cancel safe.
    pub(in crate::http) async fn gone(&self) {
        poll_fn(|cx| {
            self.waiter.register(cx.waker());
            self.awaited.store(true, Ordering::Relaxed);
            match self.gone.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// True when somebody waits for the client's end, which has not been seen yet.
    pub(in crate::http) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) && !self.gone.load(Ordering::Relaxed)
    }

    /// Tells whoever waits that the client has no more to say.
    pub(in crate::http) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        self.waiter.wake();
    }

    /// Returns when somebody has kept the connection waiting for too long; it may take half as long again.
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
                // What is sent slowly is not idle.
                Phase::Idle => now - turn_seen.max(write_seen) >= patience.idle,
                Phase::Head => now - turn_seen >= patience.head,
                Phase::Busy => false,
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
