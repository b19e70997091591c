//! Backups of the store, as streams of pieces.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{http::Snapshots, store::Store};

/// How much is sent at once.
const PIECE: usize = 256 << 10;
/// The most pieces that wait for a slow client.
const AHEAD: usize = 4;

/// Backups of one store.
#[derive(Debug)]
pub(in crate::app) struct StoreSnapshots(pub(in crate::app) Store);

impl Snapshots for StoreSnapshots {
    fn begin(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, pieces) = mpsc::channel(AHEAD);
        let store = self.0.clone();
        // It ends with the backup, or with its client.
        drop(spawn_blocking(move || {
            let out = BackupPieces {
                to: to.clone(),
                piece: Vec::with_capacity(PIECE),
            };
            if let Err(error) = store.backup(out) {
                // A client that is gone needs no error.
                let _ = to.blocking_send(Err(error));
            }
        }));
        pieces
    }
}

/// Sends what is written, in large pieces.
struct BackupPieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl BackupPieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.to.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for BackupPieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.piece.is_empty() {
            true => Ok(()),
            false => self.send(),
        }
    }
}
