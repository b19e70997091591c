//! A vhost behind its lock, and the task that carries out what is due in it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::broker::{
    durable::LoadedMessages,
    peer::Peer,
    queue::{QueueId, ready::NEVER},
    vhost::{BrokerTime, Vhost},
};

/// The longest sleep.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// A vhost and its one lock, which is held for a batch of frames and never across a wait.
#[derive(Debug)]
pub(in crate::broker) struct VhostCell {
    core: Mutex<Vhost>,
    /// When the clock task wakes up.
    armed: AtomicU64,
    earlier: Notify,
}

impl VhostCell {
    pub(super) fn new(vhost: Vhost) -> Self {
        Self {
            core: Mutex::new(vhost),
            armed: AtomicU64::new(NEVER),
            earlier: Notify::new(),
        }
    }

    /// Begins a turn.
    pub(in crate::broker) fn lock(&self) -> MutexGuard<'_, Vhost> {
        let mut vhost = self.core.lock();
        vhost.begin_turn();
        vhost
    }

    /// Carries out what is due: whether more is due now, and when something is due next.
    fn tick(&self, now: BrokerTime, dirty: &mut Vec<Arc<Peer>>) -> (bool, u64) {
        let mut vhost = self.lock();
        let more = vhost.tick(now);
        let deadline = vhost.next_deadline();
        self.armed.store(deadline, Relaxed);
        self.finish(vhost, dirty, 0);
        (more, deadline)
    }

    /// Something was stored: wakes those who wait.
    pub(super) fn on_progress(&self, now: BrokerTime, dirty: &mut Vec<Arc<Peer>>) {
        loop {
            let mut vhost = self.lock();
            let more = vhost.on_progress(now);
            self.finish(vhost, dirty, 0);
            if !more {
                return;
            }
        }
    }

    /// Messages of a queue were read from the log.
    pub(super) fn on_loaded(&self, queue: QueueId, loaded: LoadedMessages, now: BrokerTime) {
        let mut vhost = self.lock();
        vhost.on_loaded(queue, loaded, now);
        self.finish(vhost, &mut Vec::new(), 0);
    }

    /// Wakes the clock task to finish what a turn has left to do.
    pub(in crate::broker) fn leave_rest(&self) {
        self.earlier.notify_one();
    }

    /// Ends a turn with the vhost. Wakes the clock task if something is due earlier than it expects. Flushes
    /// every peer that was sent something but `own`, whose task flushes itself.
    pub(in crate::broker) fn finish(
        &self,
        mut vhost: MutexGuard<'_, Vhost>,
        dirty: &mut Vec<Arc<Peer>>,
        own: u64,
    ) {
        let deadline = vhost.next_deadline();
        vhost.dirty(dirty);
        // The clock continues the work that this turn has left; a connection continues its own.
        let is_left = own == 0 && vhost.has_work();
        drop(vhost);
        if is_left {
            self.leave_rest();
        }
        if deadline < self.armed.load(Relaxed) {
            self.armed.store(deadline, Relaxed);
            self.earlier.notify_one();
        }
        flush(dirty, own);
    }
}

/// How many sockets of other clients one task writes to; the tasks of the others are woken instead.
const FLUSH_MAX: usize = 16;

fn flush(dirty: &mut Vec<Arc<Peer>>, own: u64) {
    for (index, peer) in dirty.drain(..).enumerate() {
        if peer.id == own {
            continue;
        }
        if index < FLUSH_MAX {
            peer.flush_now();
        } else {
            peer.wake.notify_one();
        }
    }
}

/// Expires messages and unused queues of a vhost when they are due.
pub(super) async fn run(shared: Arc<Shared>, cell: Arc<VhostCell>, stop: CancellationToken) {
    let mut dirty = Vec::new();
    loop {
        let now = shared.now();
        let (more, deadline) = cell.tick(now, &mut dirty);
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        let sleep = Duration::from_millis(deadline.saturating_sub(now.ms)).min(SLEEP_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(Instant::now() + sleep) => {}
            () = cell.earlier.notified() => {}
        }
    }
}
