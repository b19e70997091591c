//! The thread that writes.

use std::{fs::File, sync::Arc, thread};

use parking_lot::Mutex;

use super::{
    MessageLogError, MessageLogState,
    shared::Shared,
    writer::{LogWriter, NextTurn},
};

/// The thread that writes. It ends when its handle is dropped, after it has written all appends.
#[derive(Debug)]
pub(super) struct WriterThread {
    shared: Arc<Shared>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl WriterThread {
    /// Starts it. It holds the folder's lock until it ends.
    pub(super) fn start(writer: LogWriter, lock: File) -> Result<Self, MessageLogError> {
        let shared = writer.shared();
        let run = move || {
            let _lock = lock;
            let _guard = PanicGuard(writer.shared());
            run(writer);
        };
        let thread = thread::Builder::new().name("message-log".into()).spawn(run);
        let thread = thread.map_err(|error| MessageLogError::unusable(&shared.folder, error))?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits until all appends are durable and the thread has ended.
    pub(super) fn close(&self) -> Result<(), MessageLogError> {
        self.stop();
        if let Some(thread) = self.thread.lock().take() {
            // A panic is in the state.
            let _ = thread.join();
        }
        let shared = &self.shared;
        match &*shared.state.borrow() {
            MessageLogState::Ready => Ok(()),
            MessageLogState::Full => Err(MessageLogError::Full {
                path: shared.folder.clone(),
            }),
            MessageLogState::Failed(why) => Err(MessageLogError::Failed(Arc::clone(why))),
        }
    }

    fn stop(&self) {
        let mut pending = self.shared.pending.lock();
        pending.is_closing = true;
        self.shared.wake(&mut pending);
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reports a panic of the writer: nothing becomes durable any more.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("its thread has panicked");
        }
    }
}

fn run(mut writer: LogWriter) {
    let shared = writer.shared();
    loop {
        let next = writer.turn();
        let mut pending = shared.pending.lock();
        if writer.has_more(&pending) || next == NextTurn::Now && !pending.is_closing {
            continue;
        }
        if pending.is_closing {
            drop(pending);
            writer.finish();
            return;
        }
        pending.is_asleep = true;
        match next {
            NextTurn::After(pause) => {
                shared.woken.wait_for(&mut pending, pause);
            }
            NextTurn::Now | NextTurn::WhenAsked => shared.woken.wait(&mut pending),
        }
        pending.is_asleep = false;
    }
}
