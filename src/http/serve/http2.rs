//! HTTP/2 (RFC 9113): many requests at once on one connection. Each has a task, and all share the limits of it.
//!
//! hyper and h2 limit frames, settings, and streams that a client resets at once (CVE-2023-44487).

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{Request, body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use super::{HttpService, connection::HttpPeer, guarded, pipeline::Pipeline, watchdog::Patience};

/// How much a client may send of one request before its endpoint reads it, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all requests of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of one answer waits for its client, in bytes; a larger one is given in such pieces.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client has reset before they were accepted; one more ends the connection.
const RESETS_PENDING_MAX: usize = 20;
/// Streams that the server has reset because of errors of the client; one more ends the connection.
const RESETS_FOR_ERRORS_MAX: usize = 128;
/// How often a client is asked whether it still answers, while requests are under way.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Speaks HTTP/2 over any stream of bytes.
pub(super) async fn http2<S, I>(stream: I, peer: HttpPeer, pipeline: Arc<Pipeline<S>>)
where
    S: HttpService,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let serve = Arc::clone(&pipeline.serve);
    let (limits, activity) = (serve.limits, Arc::new(StreamActivity::default()));
    let tasks = StreamTasks {
        tasks: serve.upgraded.clone(),
        client: peer.socket.map(|at| at.to_string()).unwrap_or_default(),
    };
    let (of_connection, revoking) = (peer.clone(), Arc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let (pipeline, peer) = (Arc::clone(&pipeline), of_connection.clone());
        let active = ActiveStream::begin(&activity);
        async move {
            let response = pipeline.answer(request, &peer).await;
            let tracked = |body| TrackedBody {
                body,
                rest: Bytes::new(),
                active,
            };
            Ok::<_, Infallible>(response.map(tracked))
        }
    });
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(limits.patience.write);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut overdue = pin!(revoking.overdue(limits.patience));
    let mut revoked = pin!(peer.revoked());
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            // The client learns of an error as far as it still reads.
            _ = connection.as_mut() => return,
            () = overdue.as_mut() => return,
            () = revoked.as_mut() => return,
            () = serve.closing.cancelled(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Runs the task of each stream. The server waits for them at a stop.
#[derive(Clone, Debug)]
struct StreamTasks {
    tasks: TaskTracker,
    client: String,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let client = self.client.clone();
        self.tasks
            .spawn(guarded("an HTTP/2 stream", client, stream));
    }
}

/// What the streams of a connection do.
#[derive(Debug, Default)]
struct StreamActivity {
    /// Streams whose answer is not complete.
    open: AtomicUsize,
    /// Among those, streams that wait until their client takes more of the answer.
    waiting: AtomicUsize,
    /// Counts streams that began or ended.
    turns: AtomicU32,
    /// Counts pieces of answers that were given or taken.
    moves: AtomicU32,
}

impl StreamActivity {
    /// Returns when the client has kept the connection waiting for too long: it sends no request, or takes nothing of
    /// any answer.
    async fn overdue(&self, patience: Patience) {
        let pause = patience.head.min(patience.idle).min(patience.write) / 2;
        let (mut turns, mut turn_seen) = (0, Instant::now());
        let (mut moves, mut move_seen) = (0, Instant::now());
        loop {
            sleep(pause).await;
            let now = Instant::now();
            let turns_now = self.turns.load(Ordering::Relaxed);
            if turns_now != turns {
                (turns, turn_seen) = (turns_now, now);
            }
            let moves_now = self.moves.load(Ordering::Relaxed);
            let is_waiting = self.waiting.load(Ordering::Relaxed) > 0;
            if moves_now != moves || !is_waiting {
                (moves, move_seen) = (moves_now, now);
            }
            let idle_max = match turns {
                0 => patience.head,
                _ => patience.idle,
            };
            let is_idle = self.open.load(Ordering::Relaxed) == 0 && now - turn_seen >= idle_max;
            if is_idle || (is_waiting && now - move_seen >= patience.write) {
                return;
            }
        }
    }
}

/// One stream, until its answer is complete or it is reset.
#[derive(Debug)]
struct ActiveStream {
    of: Arc<StreamActivity>,
    is_waiting: bool,
}

impl ActiveStream {
    fn begin(of: &Arc<StreamActivity>) -> Self {
        of.open.fetch_add(1, Ordering::Relaxed);
        of.turns.fetch_add(1, Ordering::Relaxed);
        Self {
            of: Arc::clone(of),
            is_waiting: false,
        }
    }

    fn wait(&mut self, is_waiting: bool) {
        if self.is_waiting != is_waiting {
            self.is_waiting = is_waiting;
            match is_waiting {
                true => self.of.waiting.fetch_add(1, Ordering::Relaxed),
                false => self.of.waiting.fetch_sub(1, Ordering::Relaxed),
            };
            self.of.moves.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.wait(false);
        self.of.open.fetch_sub(1, Ordering::Relaxed);
        self.of.turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// An answer's body. It is asked for its next piece when the client has room for it.
#[derive(Debug)]
struct TrackedBody {
    body: Body,
    /// What of its last piece was not given yet.
    rest: Bytes,
    active: ActiveStream,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.active.wait(false);
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(SEND_BUFFER);
        let piece = self.rest.split_to(length);
        self.active.wait(true);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
