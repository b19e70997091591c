//! A client's socket, with the frames that came and the outbox that goes.

use std::{io, sync::Arc, time::Duration};

use super::link::{Reader, Writer};
use crate::broker::{
    peer::{Flush, Peer},
    wire::{FrameReader, method::MethodSpec},
};

/// How long a client may go on sending after the end.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The socket failed or was closed.
    Socket(io::Error),
    /// It did not speak AMQP 0-9-1.
    Protocol,
    /// It was refused, for this reason.
    Refused(String),
    /// The handshake took too long.
    Slow,
}

/// A socket with its frames and its outbox.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) peer: Arc<Peer>,
    pub(super) frames: FrameReader,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

impl Wire {
    /// Waits for more bytes.
    pub(super) async fn fill(&mut self) -> Result<(), Ended> {
        match self.reader.read(self.frames.input()).await {
            Ok(0) => Err(Ended::Socket(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Ended::Socket(error)),
        }
    }

    /// Ends the connection so that the client still reads what it was sent: a socket that is closed
    /// while something comes in takes back what was sent last.
    pub(super) async fn leave(&mut self) {
        let left = async {
            self.writer.shut().await?;
            loop {
                self.frames = FrameReader::default();
                if self.reader.read(self.frames.input()).await? == 0 {
                    return io::Result::Ok(());
                }
            }
        };
        // A client that is gone, or stays, is left all the same.
        let _left = tokio::time::timeout(LINGER, left).await;
    }

    /// Sends a method on channel 0 and sees it off.
    pub(super) async fn send(&mut self, method: &impl MethodSpec) -> Result<(), Ended> {
        self.peer.outbox.put(method, 0);
        self.drain().await
    }

    /// Writes all that waits.
    pub(super) async fn drain(&mut self) -> Result<(), Ended> {
        loop {
            match self.writer.flush(&self.peer) {
                Flush::Done => return Ok(()),
                Flush::Broken => return Err(Ended::Socket(io::ErrorKind::BrokenPipe.into())),
                Flush::Later => self.writer.wait(&self.peer).await.map_err(Ended::Socket)?,
            }
        }
    }
}
