//! A client's stream: reports to the connection's watchdog, notices a client that disconnects, and gives
//! the parser's refusals a body.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watchdog::{ConnectionPhase, ConnectionWatchdog};
use crate::{api::Problem, http::answer::closing_answer};

/// At most so much is read while a request waits, in bytes; a client that sends more counts as disconnected.
const AHEAD_MAX: usize = 16 * 1024;
/// Answers up to this size are copied into one piece before they are written, which costs less than two.
const JOINED_MAX: usize = 2048;
/// At most so much is read from a client after its refusal, in bytes, so that it can read the refusal.
const LINGER_MAX: usize = 1024 * 1024;

/// A client's stream.
#[derive(Debug)]
pub(in crate::http) struct WatchedStream<I> {
    stream: I,
    watchdog: Arc<ConnectionWatchdog>,
    /// Read while a request was waiting.
    ahead: BytesMut,
    refusal: Option<Box<ParserRefusal>>,
}

/// A refusal by the parser on its way to the client.
#[derive(Debug)]
struct ParserRefusal {
    /// The bytes that are not sent yet.
    answer: Bytes,
    /// How much more is read before the connection is closed.
    linger: usize,
}

impl<I: AsyncRead + AsyncWrite + Unpin> WatchedStream<I> {
    pub(in crate::http) fn new(stream: I, watchdog: Arc<ConnectionWatchdog>) -> Self {
        Self {
            stream,
            watchdog,
            ahead: BytesMut::new(),
            refusal: None,
        }
    }

    /// Reads ahead while a request waits, to see the end of the stream.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        while self.watchdog.is_awaited() {
            let mut piece = [0; 1024];
            let mut piece = ReadBuf::new(&mut piece);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
            if read.is_pending() {
                return;
            }
            self.ahead.extend_from_slice(piece.filled());
            if piece.filled().is_empty() || self.ahead.len() >= AHEAD_MAX {
                self.watchdog.mark_disconnected();
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watchdog.wrote(written.is_ready());
        written
    }

    /// Sends a refusal in the place of `head`, which has no body.
    fn refuse(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        while let Some(refused) = &self.refusal
            && refused.answer.has_remaining()
        {
            let answer = refused.answer.clone();
            let sent = ready!(self.write(cx, &answer))?;
            if let Some(refused) = &mut self.refusal {
                refused.answer.advance(sent);
            }
        }
        Poll::Ready(Ok(head.len()))
    }

    /// Reads and drops what a refused client still sends: closing earlier would reset the connection, and
    /// the refusal would be lost.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(refused) = self.refusal.as_mut().filter(|refused| refused.linger > 0) {
            let mut piece = [0; 4096];
            let mut piece = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece));
            let length = piece.filled().len();
            if read.is_err() || length == 0 {
                break;
            }
            refused.linger = refused.linger.saturating_sub(length);
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for WatchedStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
        }
        if self.watchdog.phase() == ConnectionPhase::Idle {
            self.watchdog.enter(ConnectionPhase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            let Some(problem) = refusal(buf) else {
                return self.write(cx, buf);
            };
            self.refusal = Some(Box::new(ParserRefusal {
                answer: closing_answer(&problem).into(),
                linger: LINGER_MAX,
            }));
        }
        self.refuse(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection that has nothing to send is flushed each time it is polled.
        self.look_ahead(cx);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let mut joined = [0; JOINED_MAX];
        if let Some(joined) = join(bufs, &mut joined) {
            return self.write(cx, joined);
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watchdog.wrote(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// All of `bufs` in one piece; none when they do not fit.
fn join<'a>(bufs: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for buf in bufs {
        let part = room.get_mut(length..length + buf.len())?;
        part.copy_from_slice(buf);
        length += buf.len();
    }
    Some(&room[..length])
}

/// The problem that replaces a refusal by the parser, which has no body. Ours always have one.
fn refusal(head: &[u8]) -> Option<Problem> {
    const EMPTY: &[u8] = b"content-length: 0\r\n";
    let code = head.strip_prefix(b"HTTP/1.1 4")?.get(..2)?;
    let problem = match code {
        b"00" => Problem::new(400, "the request can't be read as HTTP/1.1"),
        b"14" => Problem::new(414, "the path is too long: at most 65,534 bytes are read"),
        b"31" => Problem::new(
            431,
            "the head is too large (http.head_max) or has too many headers (http.headers_max)",
        ),
        _ => return None,
    };
    let is_empty = head.windows(EMPTY.len()).any(|line| line == EMPTY);
    is_empty.then_some(problem)
}
