//! A client's socket, with the frames that came and the outbox that goes.

use std::{io, sync::Arc, time::Duration};

use super::link::{ClientReader, ClientWriter};
use crate::broker::{
    peer::{Flush, Peer},
    wire::{FrameReader, method::MethodSpec},
};

/// How long a client may still send after the end.
const LINGER: Duration = Duration::from_secs(1);

/// Why a client did not get as far as an open vhost.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The socket failed or was closed.
    Socket(io::Error),
    /// It spoke this instead of AMQP 0-9-1, or in the clear instead of TLS.
    Protocol(String),
    /// TLS could not be agreed on.
    Tls(io::Error),
    /// It was refused, for this reason.
    Refused(String),
    /// The handshake took too long.
    Slow,
    /// Too many newer clients had not logged in yet.
    Evicted,
}

/// A socket with its frames and its outbox.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: Arc<Peer>,
    pub(super) frames: FrameReader,
    pub(super) reader: ClientReader,
    pub(super) writer: ClientWriter,
}

impl Wire {
    /// Waits for more bytes.
    pub(super) async fn fill(&mut self) -> Result<(), HandshakeError> {
        match self.reader.read(self.frames.input()).await {
            Ok(0) => Err(HandshakeError::Socket(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(HandshakeError::Socket(error)),
        }
    }

    /// Closes the connection so that the client still reads the last frames. When a socket is closed while
    /// bytes of its client arrive, TCP resets it, and the client loses them. Waits for the client at most
    /// `patience`, and never longer than [`LINGER`].
    pub(super) async fn leave(&mut self, patience: Duration) {
        let left = async {
            self.writer.shut().await?;
            loop {
                self.frames = FrameReader::default();
                if self.reader.read(self.frames.input()).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // The socket is closed afterwards in any case.
        let _left = tokio::time::timeout(patience.min(LINGER), left).await;
    }

    /// Sends a method on channel 0 and waits until it is written.
    pub(super) async fn send(&mut self, method: &impl MethodSpec) -> Result<(), HandshakeError> {
        self.peer.outbox.put(method, 0);
        self.drain().await
    }

    /// Writes all that waits.
    pub(super) async fn drain(&mut self) -> Result<(), HandshakeError> {
        loop {
            match self.writer.flush(&self.peer) {
                Flush::Done => return Ok(()),
                Flush::Broken => {
                    return Err(HandshakeError::Socket(io::ErrorKind::BrokenPipe.into()));
                }
                Flush::Later => self
                    .writer
                    .wait(&self.peer)
                    .await
                    .map_err(HandshakeError::Socket)?,
            }
        }
    }
}
