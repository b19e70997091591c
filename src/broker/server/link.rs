//! The two halves of a client's socket, plain or encrypted.

use std::{collections::VecDeque, io, net::Shutdown, sync::Arc};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::broker::peer::{Flush, Peer, advance};

/// The least that is read at a time.
const ROOM_MIN: usize = 2 * 1024;
/// The most that is read at a time.
const ROOM_MAX: usize = 128 * 1024;

/// The receiving half.
#[derive(Debug)]
pub(super) struct ClientReader {
    from: From,
    room: usize,
}

#[derive(Debug)]
enum From {
    Plain(Arc<TcpStream>),
    Tls(Box<ReadHalf<TlsStream<TcpStream>>>),
}

/// The sending half.
#[derive(Debug)]
pub(super) enum ClientWriter {
    /// Any task may write to a plain socket; this one waits until the socket is writable.
    Plain(Arc<TcpStream>),
    /// Only this task writes to an encrypted socket.
    Tls(Box<TlsWriter>),
}

/// The sending half of an encrypted socket.
#[derive(Debug)]
pub(super) struct TlsWriter {
    half: WriteHalf<TlsStream<TcpStream>>,
    chunks: VecDeque<Bytes>,
    unflushed: bool,
}

/// Both halves of a plain socket.
pub(super) fn plain(socket: &Arc<TcpStream>) -> (ClientReader, ClientWriter) {
    let reader = ClientReader {
        from: From::Plain(Arc::clone(socket)),
        room: ROOM_MIN,
    };
    (reader, ClientWriter::Plain(Arc::clone(socket)))
}

/// Both halves of an encrypted socket.
pub(super) fn tls(stream: TlsStream<TcpStream>) -> (ClientReader, ClientWriter) {
    let (read, write) = tokio::io::split(stream);
    let reader = ClientReader {
        from: From::Tls(Box::new(read)),
        room: ROOM_MIN,
    };
    let writer = TlsWriter {
        half: write,
        chunks: VecDeque::new(),
        unflushed: false,
    };
    (reader, ClientWriter::Tls(Box::new(writer)))
}

impl ClientReader {
    /// Waits for bytes and appends them: how many; 0 when the client has closed its side. Cancel safe.
    pub(super) async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        let count = match &mut self.from {
            From::Plain(socket) => loop {
                socket.readable().await?;
                into.reserve(self.room);
                match socket.try_read_buf(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => break other?,
                }
            },
            From::Tls(half) => {
                into.reserve(self.room);
                half.read_buf(into).await?
            }
        };
        if count >= self.room {
            self.room = (self.room * 4).min(ROOM_MAX);
        } else if count < self.room / 8 {
            self.room = (self.room / 2).max(ROOM_MIN);
        }
        Ok(count)
    }

    /// Uses a small buffer for the next read.
    pub(super) fn rest(&mut self) {
        self.room = ROOM_MIN;
    }
}

impl ClientWriter {
    /// Writes as much as possible now; [`Flush::Later`]: call [`Self::wait`] for the rest.
    pub(super) fn flush(&mut self, peer: &Peer) -> Flush {
        match self {
            Self::Plain(_) => peer.flush(),
            Self::Tls(tls) => {
                if let Some(mut taken) = peer.take() {
                    tls.chunks.append(&mut taken);
                }
                if tls.chunks.is_empty() && !tls.unflushed {
                    Flush::Done
                } else {
                    peer.outbox.stall();
                    Flush::Later
                }
            }
        }
    }

    /// Waits until the socket is writable, and writes where only this task can. Cancel safe.
    pub(super) async fn wait(&mut self, peer: &Peer) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.writable().await,
            Self::Tls(tls) => {
                if let Some(first) = tls.chunks.front() {
                    let count = tls.half.write(first).await?;
                    if count == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    advance(&mut tls.chunks, count);
                    tls.unflushed = true;
                    peer.wrote(count);
                }
                if tls.chunks.is_empty() && tls.unflushed {
                    tls.half.flush().await?;
                    tls.unflushed = false;
                }
                Ok(())
            }
        }
    }

    /// Closes the sending side.
    pub(super) async fn shut(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => SockRef::from(&**socket).shutdown(Shutdown::Write),
            Self::Tls(tls) => tls.half.shutdown().await,
        }
    }
}
