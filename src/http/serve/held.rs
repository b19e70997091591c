//! What clients that read slowly keep in memory: large answers on their way, and versions that something newer has
//! replaced. Both are counted, and the connections that keep most of it are closed when it is too much.
//!
//! An answer that many read counts once. Replaced versions are not attributed to readers: whatever all of them hold was
//! replaced since the oldest reader took its state, and so much is counted.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{metrics::ServeMetrics, watchdog::ConnectionWatchdog};

/// Smaller pieces of answers are not counted: the buffers of a connection are of this order.
const COUNTED_MIN: usize = 16 * 1024;
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How many of these looks are left out while there cannot be too much.
const COUNTED_TURNS: u64 = 50;
/// At most one line of the log in this time.
const LOG_PAUSE: Duration = Duration::from_secs(5);
/// Nothing that could be replaced is held.
const NOTHING: u64 = u64::MAX;

/// How many bytes of state were replaced so far.
pub(in crate::http) type ReplacedBytes = Box<dyn Fn() -> u64 + Send + Sync>;

/// What is kept for readers.
pub(in crate::http) struct HeldAnswers {
    /// More than this is not kept.
    max: u64,
    replaced: ReplacedBytes,
    readers: Mutex<HashMap<u64, Weak<AnswerReader>>>,
    next: AtomicU64,
    /// Large pieces on their way, by their place in memory: their length, and how many connections have them.
    pieces: Mutex<HashMap<usize, (usize, usize)>>,
    /// The length of all pieces.
    bytes: AtomicUsize,
    /// No reader holds what was replaced before this.
    floor: AtomicU64,
    metrics: ServeMetrics,
}

impl fmt::Debug for HeldAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldAnswers")
            .field("max", &self.max)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl HeldAnswers {
    pub(in crate::http) fn new(
        max: u64,
        replaced: ReplacedBytes,
        metrics: ServeMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            max,
            replaced,
            readers: Mutex::default(),
            next: AtomicU64::new(0),
            pieces: Mutex::default(),
            bytes: AtomicUsize::new(0),
            floor: AtomicU64::new(0),
            metrics,
        })
    }

    /// A reader that holds nothing yet.
    pub(in crate::http) fn reader(
        self: &Arc<Self>,
        client: Option<SocketAddr>,
        watchdog: &Arc<ConnectionWatchdog>,
    ) -> Arc<AnswerReader> {
        let reader = Arc::new(AnswerReader {
            all: Arc::clone(self),
            number: self.next.fetch_add(1, Relaxed),
            client,
            watchdog: Arc::clone(watchdog),
            since: AtomicU64::new(NOTHING),
            bytes: AtomicUsize::new(0),
        });
        let weak = Arc::downgrade(&reader);
        self.readers.lock().insert(reader.number, weak);
        reader
    }

    /// An answer whose bytes count as long as the connection has them. Small ones are left as they are.
    pub(super) fn counted(
        self: &Arc<Self>,
        body: Body,
        client: SocketAddr,
        watchdog: &Arc<ConnectionWatchdog>,
    ) -> Body {
        let size = body.size_hint().exact();
        if size.is_some_and(|size| size < COUNTED_MIN as u64) {
            return body;
        }
        let reader = self.reader(Some(client), watchdog);
        // A list that is encoded while it is sent holds a version from its beginning on.
        reader.holds();
        Body::new(CountedBody { body, reader })
    }

    /// Closes connections of slow readers where too much is held, until `stop`.
    pub(in crate::http) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut logged: Option<Instant> = None;
        for turn in 0_u64.. {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => (),
            }
            if !self.may_be_too_much() && !turn.is_multiple_of(COUNTED_TURNS) {
                continue;
            }
            let (held, closed) = self.look();
            self.metrics
                .held
                .set(i64::try_from(held).unwrap_or(i64::MAX));
            let Some(first) = closed.first() else {
                continue;
            };
            self.metrics.slow_closed.inc_by(closed.len() as u64);
            if logged.is_none_or(|at| at.elapsed() >= LOG_PAUSE) {
                logged = Some(Instant::now());
                let client = first
                    .client
                    .map_or_else(|| "?".into(), |client| client.to_string());
                let (count, max) = (closed.len(), self.max);
                tracing::warn!(
                    peer = %client,
                    connections = count,
                    "{count} connections of clients that read too slowly are closed, the first is that of {client}: {held} \
                     bytes are held for them, and http.held_max is {max}"
                );
            }
        }
    }

    /// Whether a look at the readers is worth its time.
    fn may_be_too_much(&self) -> bool {
        let replaced = (self.replaced)().saturating_sub(self.floor.load(Relaxed));
        replaced + self.bytes.load(Relaxed) as u64 > self.max
    }

    /// How many bytes are held, and the readers whose connections are closed because that is too much.
    fn look(&self) -> (u64, Vec<Arc<AnswerReader>>) {
        let readers: Vec<_> = {
            let readers = self.readers.lock();
            readers.values().filter_map(Weak::upgrade).collect()
        };
        let now = (self.replaced)();
        let pieces = self.bytes.load(Relaxed) as u64;
        let found = readers.into_iter().map(|reader| HeldByReader {
            since: reader.since.load(Relaxed),
            bytes: reader.bytes.load(Relaxed) as u64,
            reader,
        });
        let mut found: Vec<_> = found
            .filter(|held| !held.reader.watchdog.is_cut())
            .collect();
        let old = old_bytes(now, &found);
        self.floor.store(now - old, Relaxed);
        let held = pieces + old;
        let closed = too_slow(self.max, now, pieces, &mut found);
        for reader in &closed {
            reader.watchdog.cut();
        }
        (held, closed)
    }

    fn add_piece(&self, bytes: &Bytes) {
        let mut pieces = self.pieces.lock();
        let known = pieces.entry(bytes.as_ptr() as usize).or_default();
        if bytes.len() > known.0 {
            self.bytes.fetch_add(bytes.len() - known.0, Relaxed);
            known.0 = bytes.len();
        }
        known.1 += 1;
    }

    fn remove_piece(&self, bytes: &Bytes) {
        let mut pieces = self.pieces.lock();
        let place = bytes.as_ptr() as usize;
        if let Some((len, readers)) = pieces.get_mut(&place) {
            *readers -= 1;
            if *readers == 0 {
                self.bytes.fetch_sub(*len, Relaxed);
                pieces.remove(&place);
            }
        }
    }
}

/// What one reader holds at a moment.
#[derive(Debug)]
struct HeldByReader<R = Arc<AnswerReader>> {
    since: u64,
    bytes: u64,
    reader: R,
}

/// What was replaced since the oldest reader took its state.
fn old_bytes<R>(now: u64, readers: &[HeldByReader<R>]) -> u64 {
    let oldest = readers.iter().map(|held| held.since).min();
    now.saturating_sub(oldest.unwrap_or(NOTHING))
}

/// The readers to close so that no more than `max` is held: the oldest where most is what was replaced, otherwise those
/// with the largest answers.
fn too_slow<R>(max: u64, now: u64, mut pieces: u64, readers: &mut Vec<HeldByReader<R>>) -> Vec<R> {
    let mut closed = Vec::new();
    loop {
        let old = old_bytes(now, readers);
        if old + pieces <= max {
            return closed;
        }
        let by_age = old >= pieces;
        let order = |held: &HeldByReader<R>| match by_age {
            true => (u64::MAX - held.since, held.bytes),
            false => (held.bytes, u64::MAX - held.since),
        };
        let slowest = (0..readers.len()).max_by_key(|at| order(&readers[*at]));
        let Some(slowest) = slowest.map(|at| readers.swap_remove(at)) else {
            return closed;
        };
        if slowest.bytes == 0 && slowest.since == NOTHING {
            return closed;
        }
        pieces = pieces.saturating_sub(slowest.bytes);
        closed.push(slowest.reader);
    }
}

/// A client that is sent something.
#[derive(Debug)]
pub(in crate::http) struct AnswerReader {
    all: Arc<HeldAnswers>,
    number: u64,
    /// None for a client without a connection.
    client: Option<SocketAddr>,
    watchdog: Arc<ConnectionWatchdog>,
    /// What it holds may have been replaced from here on.
    since: AtomicU64,
    /// Its large pieces.
    bytes: AtomicUsize,
}

impl AnswerReader {
    /// It has something that may be replaced while it is sent.
    pub(in crate::http) fn holds(&self) {
        if self.since.load(Relaxed) == NOTHING {
            self.since.store((self.all.replaced)(), Relaxed);
        }
    }

    /// It was sent everything.
    pub(in crate::http) fn holds_nothing(&self) {
        self.since.store(NOTHING, Relaxed);
    }
}

impl Drop for AnswerReader {
    fn drop(&mut self) {
        self.all.readers.lock().remove(&self.number);
    }
}

/// An answer on its way.
struct CountedBody {
    body: Body,
    reader: Arc<AnswerReader>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let reader = &self.reader;
        match frame {
            Poll::Pending => {
                // A stream that waits for what comes next.
                reader.holds_nothing();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                reader.holds();
                let frame = frame.map_data(|bytes| HeldPiece::of(bytes, reader));
                Poll::Ready(Some(Ok(frame)))
            }
            ended => {
                reader.holds_nothing();
                ended
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A large piece that a connection has.
struct HeldPiece {
    bytes: Bytes,
    reader: Arc<AnswerReader>,
}

impl HeldPiece {
    /// The same bytes, counted until they are dropped.
    fn of(bytes: Bytes, reader: &Arc<AnswerReader>) -> Bytes {
        if bytes.len() < COUNTED_MIN {
            return bytes;
        }
        reader.all.add_piece(&bytes);
        reader.bytes.fetch_add(bytes.len(), Relaxed);
        Bytes::from_owner(Self {
            bytes,
            reader: Arc::clone(reader),
        })
    }
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for HeldPiece {
    fn drop(&mut self) {
        self.reader.bytes.fetch_sub(self.bytes.len(), Relaxed);
        self.reader.all.remove_piece(&self.bytes);
    }
}

#[cfg(test)]
mod tests;
