//! Backups of the store, as streams of pieces.

use std::{
    ffi::OsStr,
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::MESSAGES;
use crate::{
    broker::{Broker, FrozenMessages, Listening},
    http::Snapshots,
    store::{BackupFile, Store},
};

/// How much is sent at once.
const PIECE: usize = 256 << 10;
/// The most pieces that wait for a slow client.
const AHEAD: usize = 4;

/// Backups of the store, if there is one, with the messages of the broker.
pub(in crate::app) fn snapshots(
    store: Option<&Store>,
    broker: Option<&Listening>,
) -> Option<Arc<dyn Snapshots>> {
    Some(Arc::new(StoreSnapshots {
        store: store?.clone(),
        broker: broker.map(Listening::broker),
    }))
}

#[derive(Clone, Debug)]
struct StoreSnapshots {
    store: Store,
    broker: Option<Broker>,
}

impl StoreSnapshots {
    /// Writes a backup. Messages are those of a moment before that of the store, which then has their queues.
    fn write(&self, out: BackupPieces) -> io::Result<()> {
        let frozen = self.broker.as_ref().and_then(Broker::freeze_messages);
        let files = frozen.as_ref().map(backup_files).transpose()?;
        self.store.backup(out, &files.unwrap_or_default())
    }
}

fn backup_files(frozen: &FrozenMessages) -> io::Result<Vec<BackupFile>> {
    let named = frozen.files().iter().map(|file| {
        let name = file.path.file_name().and_then(OsStr::to_str);
        let name = name.ok_or_else(|| io::Error::other("a segment has no name"))?;
        Ok(BackupFile {
            name: format!("{MESSAGES}/{name}"),
            path: file.path.clone(),
            len: file.len,
        })
    });
    named.collect()
}

impl Snapshots for StoreSnapshots {
    fn begin(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, pieces) = mpsc::channel(AHEAD);
        let snapshots = self.clone();
        // It ends with the backup, or with its client.
        drop(spawn_blocking(move || {
            let out = BackupPieces {
                to: to.clone(),
                piece: Vec::with_capacity(PIECE),
            };
            let Err(error) = snapshots.write(out) else {
                return;
            };
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "a backup failed: {error}");
            }
            // A client that is gone needs no error.
            let _ = to.blocking_send(Err(error));
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
