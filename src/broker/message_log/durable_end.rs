//! Up to which frame the log is durable, in a small file beside the segments: so a loss at its end is no torn write.
//!
//! It is written in place after each fsync of the log and is itself made durable only at a clean stop: it costs no
//! fsync. Where it is missing or behind, the frames alone say what was durable.
//!
//! The file: `"musterd-sync", segment (u32), mark (u64), number (u64), checksum (u32)`, all little endian.

use std::io;

use super::{
    frame::{checksum, u32_at, u64_at},
    record::SegmentNumber,
};
use crate::disk::{Disk, NoteFile};

/// The name of the file.
pub(super) const DURABLE: &str = "DURABLE";
const MAGIC: &[u8; 12] = b"musterd-sync";
const LEN: usize = 36;

/// The newest frame that is durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct DurableEnd {
    /// The secret of the log that it is about.
    pub(super) mark: u64,
    /// The segment that was written last.
    pub(super) segment: SegmentNumber,
    /// The number of the frame.
    pub(super) number: u64,
}

impl DurableEnd {
    fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..12].copy_from_slice(MAGIC);
        out[12..16].copy_from_slice(&self.segment.to_le_bytes());
        out[16..24].copy_from_slice(&self.mark.to_le_bytes());
        out[24..32].copy_from_slice(&self.number.to_le_bytes());
        let sum = checksum(&[&out[..32]]);
        out[32..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let is_sound = bytes[..12] == *MAGIC && checksum(&[&bytes[..32]]) == u32_at(bytes, 32);
        is_sound.then(|| Self {
            mark: u64_at(bytes, 16),
            segment: u32_at(bytes, 12),
            number: u64_at(bytes, 24),
        })
    }

    /// What the file says; none where it does not exist or was not written as a whole.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let bytes = NoteFile::<LEN>::new(DURABLE).read(disk)?;
        Ok(bytes.and_then(|bytes| Self::decode(&bytes)))
    }
}

/// The file, opened at the first write.
#[derive(Debug)]
pub(super) struct DurableEndFile(NoteFile<LEN>);

impl Default for DurableEndFile {
    fn default() -> Self {
        Self(NoteFile::new(DURABLE))
    }
}

impl DurableEndFile {
    /// Replaces what it says, up to the operating system.
    pub(super) fn write(&mut self, disk: &dyn Disk, end: &DurableEnd) -> io::Result<()> {
        self.0.write(disk, &end.encode())
    }

    /// Makes it durable.
    pub(super) fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        self.0.sync(disk)
    }
}
