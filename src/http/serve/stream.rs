//! A client's socket: tells its pace, sees the client go, and gives the parser's refusals a body.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::watchdog::{ConnectionWatchdog, Phase};
use crate::{api::Problem, http::answer::closing_answer};

/// So much is read ahead of a request that waits; a client that sends more is taken for gone.
const AHEAD_MAX: usize = 16 * 1024;
/// Answers up to this size are sent from one piece of memory, which costs less than from two.
const JOINED_MAX: usize = 2048;
/// So much is still read of a client that was refused, so that it can read why.
const LINGER_MAX: usize = 1024 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(in crate::http) struct WatchedStream {
    stream: TcpStream,
    pace: Arc<ConnectionWatchdog>,
    /// What was read while a request was waiting.
    ahead: BytesMut,
    refusal: Option<Box<Refused>>,
}

/// A refusal by the parser on its way to the client.
#[derive(Debug)]
struct Refused {
    /// What is left of it.
    answer: Bytes,
    /// What the client may still send before it is hung up on.
    linger: usize,
}

impl WatchedStream {
    pub(in crate::http) fn new(stream: TcpStream, pace: Arc<ConnectionWatchdog>) -> Self {
        Self {
            stream,
            pace,
            ahead: BytesMut::new(),
            refusal: None,
        }
    }

    /// Reads on while a request waits for its client's end.
    fn look_ahead(&mut self, cx: &mut Context<'_>) {
        while self.pace.is_awaited() {
            let mut piece = [0; 1024];
            let mut piece = ReadBuf::new(&mut piece);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut piece);
            if read.is_pending() {
                return;
            }
            self.ahead.extend_from_slice(piece.filled());
            if piece.filled().is_empty() || self.ahead.len() >= AHEAD_MAX {
                self.pace.leave();
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pace.wrote(written.is_ready());
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

    /// Reads away what a refused client still sends: a connection that is closed before would be
    /// reset, and the refusal lost with it.
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

impl AsyncRead for WatchedStream {
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
        if self.pace.phase() == Phase::Idle {
            self.pace.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() {
            let Some(problem) = refusal(buf) else {
                return self.write(cx, buf);
            };
            self.refusal = Some(Box::new(Refused {
                answer: closing_answer(&problem).into(),
                linger: LINGER_MAX,
            }));
        }
        self.refuse(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A connection that has nothing to send is flushed whenever it is looked at.
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
        self.pace.wrote(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// All of `bufs` in one piece; none when there is not the room for it.
fn join<'a>(bufs: &[IoSlice<'_>], room: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut length = 0;
    for buf in bufs {
        let part = room.get_mut(length..length + buf.len())?;
        part.copy_from_slice(buf);
        length += buf.len();
    }
    Some(&room[..length])
}

/// What to say in the place of a head by which the parser refuses what it can't read. Our own
/// refusals are never without a body.
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
