//! One HTTP/1.1 connection. It is polled by its user and has no task, so none can leak.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::{
    error::{OutboundError, RequestStep, cause},
    stream::Stream,
};

/// The smallest buffer that hyper accepts.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// Limits of a response head.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    pub(super) head_max: usize,
    pub(super) headers_max: usize,
}

#[derive(Debug)]
pub(super) struct Http1 {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Stream>, Full<Bytes>>,
    /// The connection has ended and must not be polled again.
    over: bool,
}

/// A response.
#[derive(Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The body was longer than the limit.
    pub(super) truncated: bool,
    /// The connection can be used again.
    pub(super) reusable: bool,
}

/// Why there is no response, and whether the peer may have seen the request.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: OutboundError,
    pub(super) sent: SentState,
}

/// How far a failed request got.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SentState {
    /// It was never sent.
    Unsent,
    /// The connection closed before any byte of a response.
    Unanswered,
    /// A response began, or the deadline passed.
    Final,
}

impl Http1 {
    pub(super) async fn open(stream: Stream, limits: HeadLimits) -> Result<Self, OutboundError> {
        let opened = Builder::new()
            .max_buf_size(limits.head_max.max(HEAD_BYTES_MIN))
            .max_headers(limits.headers_max.max(1))
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = opened.map_err(|error| classify(&error))?;
        Ok(Self {
            sender,
            connection,
            over: false,
        })
    }

    /// False when the peer has closed the connection or sent something while it was idle.
    pub(super) async fn is_alive(&mut self) -> bool {
        poll_fn(|cx| {
            if !self.over && Pin::new(&mut self.connection).poll(cx).is_ready() {
                self.over = true;
            }
            Poll::Ready(())
        })
        .await;
        !self.over && self.sender.is_ready()
    }

    /// Sends a request and reads the response, at most `body_max` bytes of its body.
    pub(super) async fn exchange(
        &mut self,
        request: http::Request<Full<Bytes>>,
        deadline: Instant,
        body_max: usize,
    ) -> Result<ReceivedResponse, Failed> {
        let late = |step| Failed {
            error: OutboundError::Deadline(step),
            sent: SentState::Final,
        };
        let sent = self.sender.try_send_request(request);
        let head = timeout_at(deadline, driven(&mut self.connection, &mut self.over, sent)).await;
        let response = match head.map_err(|_| late(RequestStep::Answer))? {
            Ok(response) => response,
            Err(mut error) => {
                let sent = if error.take_message().is_some() {
                    SentState::Unsent
                } else if is_broken(error.error()) {
                    SentState::Unanswered
                } else {
                    SentState::Final
                };
                let error = classify(error.error());
                return Err(Failed { error, sent });
            }
        };
        let (head, body) = response.into_parts();
        let reading = read(body, body_max);
        let body = timeout_at(
            deadline,
            driven(&mut self.connection, &mut self.over, reading),
        )
        .await;
        let (body, truncated) = body
            .map_err(|_| late(RequestStep::Body))?
            .map_err(|error| Failed {
                error: classify(&error),
                sent: SentState::Final,
            })?;
        let switched = head.status == StatusCode::SWITCHING_PROTOCOLS;
        Ok(ReceivedResponse {
            status: head.status,
            headers: head.headers,
            body,
            truncated,
            reusable: !truncated && !switched && self.is_alive().await,
        })
    }
}

/// Runs `work` while keeping the connection going.
async fn driven<C, T>(connection: &mut C, over: &mut bool, work: impl Future<Output = T>) -> T
where
    C: Future + Unpin,
{
    let mut work = pin!(work);
    poll_fn(|cx| {
        if !*over && Pin::new(&mut *connection).poll(cx).is_ready() {
            *over = true;
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// Reads a body up to a limit; true when there was more.
pub(super) async fn read(mut body: Incoming, max: usize) -> Result<(Bytes, bool), hyper::Error> {
    let mut read = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let Ok(part) = frame?.into_data() else {
            continue;
        };
        let room = max - read.len();
        read.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            return Ok((read.freeze(), true));
        }
    }
    Ok((read.freeze(), false))
}

fn is_broken(error: &hyper::Error) -> bool {
    let io = std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>());
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || io
}

/// The error of a failed exchange.
pub(super) fn classify(error: &hyper::Error) -> OutboundError {
    if is_broken(error) {
        OutboundError::Broken(cause(error))
    } else {
        OutboundError::Garbage(cause(error))
    }
}
