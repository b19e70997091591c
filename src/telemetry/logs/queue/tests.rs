use std::{
    io::{self, Write},
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::Mutex;

use super::{super::rate::Rates, LINE_BYTES_MAX, LineQueue, Lines};

impl LineQueue {
    /// Everything that waits, taken out.
    pub(in crate::telemetry::logs) fn drained(self: Arc<Self>) -> Vec<u8> {
        self.take().0.into_iter().flatten().collect()
    }
}

/// A reader that takes nothing until it is opened.
struct Pipe {
    open: mpsc::Receiver<()>,
    read: Arc<Mutex<Vec<u8>>>,
    is_open: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_open {
            self.is_open = self.open.recv().is_ok();
        }
        self.read.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_log_reader_delays_no_writer_and_dropped_lines_are_counted() {
    let (unblock, open) = mpsc::channel();
    let read = Arc::new(Mutex::new(Vec::new()));
    let pipe = Pipe {
        open,
        read: Arc::clone(&read),
        is_open: false,
    };
    let queue = LineQueue::new(1_000);
    let own = |text: &str| format!("own: {text}\n").into_bytes();
    Arc::clone(&queue).start(pipe, Rates::new(), own).unwrap();
    let mut lines = Lines::text(&queue);
    for _ in 0..500 {
        lines.write_all(b"ten bytes\n").unwrap();
    }
    let dropped = queue.dropped();
    assert_eq!(dropped, 400, "100 lines of ten bytes fit");
    queue.flush(Duration::ZERO);
    assert!(read.lock().is_empty(), "flush waits no longer than it may");
    unblock.send(()).unwrap();
    queue.flush(Duration::from_secs(60));
    let text = String::from_utf8(read.lock().clone()).unwrap();
    assert_eq!(text.matches("ten bytes\n").count(), 100);
    assert!(text.contains("own: 400 log lines were dropped"), "{text}");
    lines.write_all(b"after\n").unwrap();
    queue.flush(Duration::from_secs(60));
    assert!(read.lock().ends_with(b"after\n"));
}

#[test]
fn a_long_line_is_cut() {
    let queue = LineQueue::new(1 << 20);
    let long = "é".repeat(LINE_BYTES_MAX);
    Lines::text(&queue).write_all(long.as_bytes()).unwrap();
    let kept = String::from_utf8(queue.drained()).unwrap();
    assert!(kept.len() < LINE_BYTES_MAX + 10 && kept.ends_with("…\n"));
}
