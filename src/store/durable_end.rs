//! Up to which commit the log is durable, in a small file beside it: so that the loss of its newest files is found.
//!
//! It is written in place after each fsync of the log and is itself made durable only when the store is closed: it
//! costs no fsync. Where it is missing or behind, the frames alone say what was durable.
//!
//! The file: `"mustd-synced", segment (u64), number (u64), checksum (u32)`, all little endian.

use std::io;

use super::frame::{eight, four};
use crate::disk::{Disk, NoteFile};

/// The name of the file.
pub(super) const DURABLE: &str = "DURABLE";
const MAGIC: &[u8; 12] = b"mustd-synced";
const LEN: usize = 32;

/// The newest commit that is durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SyncedEnd {
    /// The segment that was written last.
    pub(super) segment: u64,
    /// The number of the commit.
    pub(super) number: u64,
}

impl SyncedEnd {
    fn encode(self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..12].copy_from_slice(MAGIC);
        out[12..20].copy_from_slice(&self.segment.to_le_bytes());
        out[20..28].copy_from_slice(&self.number.to_le_bytes());
        let sum = crc32fast::hash(&out[..28]);
        out[28..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let sum = u32::from_le_bytes(four(&bytes[28..]));
        let is_sound = bytes[..12] == *MAGIC && crc32fast::hash(&bytes[..28]) == sum;
        is_sound.then(|| Self {
            segment: u64::from_le_bytes(eight(&bytes[12..20])),
            number: u64::from_le_bytes(eight(&bytes[20..28])),
        })
    }

    /// What the file says; none where it does not exist or was not written as a whole.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let bytes = NoteFile::<LEN>::new(DURABLE).read(disk)?;
        Ok(bytes.and_then(|bytes| Self::decode(&bytes)))
    }
}

/// The end that was durable is no longer that of the log: a repair has dropped commits.
pub(super) fn forget(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(DURABLE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The file, opened at the first write.
#[derive(Debug)]
pub(super) struct SyncedEndFile(NoteFile<LEN>);

impl Default for SyncedEndFile {
    fn default() -> Self {
        Self(NoteFile::new(DURABLE))
    }
}

impl SyncedEndFile {
    /// Replaces what it says, up to the operating system.
    pub(super) fn write(&mut self, disk: &dyn Disk, end: SyncedEnd) -> io::Result<()> {
        self.0.write(disk, &end.encode())
    }

    /// Makes it durable.
    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        self.0.sync(disk)
    }
}
