//! Lines on their way to standard error: a bounded queue, and the one thread that writes.
//!
//! Logging never waits for the reader of standard error. Lines beyond the bound are dropped and counted.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

use super::rate::Rates;
use crate::telemetry::escape::escaped_json;

/// A longer line of text is cut.
const LINE_BYTES_MAX: usize = 16 << 10;
/// How often lines that were left out are reported while nothing else is logged.
const REPORT_PAUSE: Duration = Duration::from_secs(5);

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct LineQueue {
    bytes_max: usize,
    waiting: Mutex<WaitingLines>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct WaitingLines {
    lines: VecDeque<Box<[u8]>>,
    /// Of the lines, and of those being written.
    bytes: usize,
    dropped: u64,
    dropped_reported: u64,
}

impl LineQueue {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        })
    }

    /// Adds a line, or counts it as dropped.
    pub(super) fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.bytes + line.len() > self.bytes_max {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.into());
        self.filled.notify_one();
    }

    /// Lines dropped so far because the output was not read.
    pub(super) fn dropped(&self) -> u64 {
        self.waiting.lock().dropped
    }

    /// Waits until everything is written, but not longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let mut waiting = self.waiting.lock();
        let is_busy = |waiting: &mut WaitingLines| waiting.bytes > 0;
        self.emptied.wait_while_for(&mut waiting, is_busy, patience);
    }

    /// Writes until the process ends.
    ///
    /// `own` makes a line of our own: how many were dropped, or left out by `rates`.
    pub(super) fn start(
        self: Arc<Self>,
        mut out: impl Write + Send + 'static,
        rates: Arc<Rates>,
        own: impl Fn(&str) -> Vec<u8> + Send + 'static,
    ) -> io::Result<()> {
        let thread = thread::Builder::new().name("musterd-log".to_owned());
        let run = move || {
            loop {
                self.write_batch(&mut out, &rates, &own);
            }
        };
        thread.spawn(run).map(drop)
    }

    /// Waits for lines and writes all that are there.
    fn write_batch(&self, out: &mut impl Write, rates: &Rates, own: &impl Fn(&str) -> Vec<u8>) {
        let (lines, bytes, dropped) = self.take();
        // If standard error is closed, lines are lost and the daemon continues.
        for line in &lines {
            let _ = out.write_all(line);
        }
        if dropped > 0 {
            let text =
                format!("{dropped} log lines were dropped: standard error is read too slowly");
            let _ = out.write_all(&own(&text));
        }
        for text in rates.left_out() {
            let _ = out.write_all(&own(&text));
        }
        let _ = out.flush();
        let mut waiting = self.waiting.lock();
        waiting.bytes -= bytes;
        if waiting.bytes == 0 {
            self.emptied.notify_all();
        }
    }

    fn take(&self) -> (VecDeque<Box<[u8]>>, usize, u64) {
        let mut waiting = self.waiting.lock();
        if waiting.lines.is_empty() {
            let _ = self.filled.wait_for(&mut waiting, REPORT_PAUSE);
        }
        let lines = mem::take(&mut waiting.lines);
        let bytes = lines.iter().map(|line| line.len()).sum();
        let dropped = waiting.dropped - waiting.dropped_reported;
        waiting.dropped_reported = waiting.dropped;
        (lines, bytes, dropped)
    }
}

/// Puts each formatted line into the queue.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: Arc<LineQueue>,
    is_json: bool,
}

impl Lines {
    /// For lines whose values are escaped already.
    pub(super) fn text(queue: &Arc<LineQueue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            is_json: false,
        }
    }

    /// For lines of JSON, which already escape all control characters but DEL and those above ASCII.
    pub(super) fn json(queue: &Arc<LineQueue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            is_json: true,
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Lines {
    /// Takes a whole line, as the formatter gives it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if line.len() > LINE_BYTES_MAX && !self.is_json {
            let mut cut = String::from_utf8_lossy(&line[..LINE_BYTES_MAX]).into_owned();
            cut.push_str("…\n");
            self.queue.push(cut.as_bytes());
        } else if self.is_json {
            let text = String::from_utf8_lossy(line);
            let escaped = escaped_json(text.trim_end_matches('\n'));
            self.queue.push(format!("{escaped}\n").as_bytes());
        } else {
            self.queue.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
