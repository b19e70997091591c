//! A snapshot: all tables, sorted, in one file that is written once.
//!
//! Frames of about 32 KiB, each with entries of one table. Then comes a frame with the number of the newest
//! commit and the place of each table, and last the place of that frame.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    frame::{LogFrames, eight, seal},
    writes::{self, Writes},
};
use crate::disk::DiskFile;

const BLOCK: usize = 32 << 10;
/// The table of the last frame. No other table can have this name.
pub(super) const INDEX: &str = "\u{1}";

/// Writes a snapshot, entries in order of table and key.
#[derive(Debug)]
pub(super) struct SnapshotFileWriter<W> {
    out: W,
    at: u64,
    blocks: u64,
    block: Writes,
    table: Bytes,
    places: Writes,
}

impl<W: FnMut(&[u8], u64) -> io::Result<()>> SnapshotFileWriter<W> {
    /// `out` gets bytes and their place in the file.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            at: 0,
            blocks: 0,
            block: Writes::default(),
            table: Bytes::new(),
            places: Writes::default(),
        }
    }

    pub(super) fn put(&mut self, table: &Bytes, key: &[u8], value: &[u8]) -> io::Result<()> {
        let name = str::from_utf8(table).map_err(io::Error::other)?;
        if self.table != *table {
            self.end_block()?;
            self.table.clone_from(table);
            self.places.put(INDEX, table, &self.at.to_le_bytes());
        }
        self.block.put(name, key, value);
        if self.block.len() >= BLOCK {
            self.end_block()?;
        }
        Ok(())
    }

    /// Writes the end; answers with the size of the file.
    pub(super) fn finish(mut self, newest: u64) -> io::Result<u64> {
        self.end_block()?;
        let index_at = self.at;
        self.places.put(INDEX, b"", &newest.to_le_bytes());
        let mut places = std::mem::take(&mut self.places);
        self.write(&mut places)?;
        (self.out)(&index_at.to_le_bytes(), self.at)?;
        Ok(self.at + 8)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        self.write(&mut block)?;
        block.clear();
        self.block = block;
        Ok(())
    }

    fn write(&mut self, frame: &mut Writes) -> io::Result<()> {
        self.blocks += 1;
        seal(&mut frame.frame, self.blocks, 0)?;
        (self.out)(&frame.frame, self.at)?;
        self.at += frame.len() as u64;
        Ok(())
    }
}

/// A snapshot, open for reading.
#[derive(Clone, Debug)]
pub(super) struct StoredSnapshot {
    pub(super) name: Arc<str>,
    pub(super) file: Arc<dyn DiskFile>,
    /// The newest commit that it holds.
    pub(super) newest: u64,
    /// Where the tables begin, by name.
    tables: Vec<(Bytes, u64)>,
    /// Where the last table ends.
    end: u64,
    pub(super) len: u64,
}

impl StoredSnapshot {
    /// Reads the end of the file; the error says where it cannot be read.
    pub(super) fn open(name: &str, file: Arc<dyn DiskFile>) -> io::Result<Result<Self, u64>> {
        let len = file.len()?;
        let mut place = [0; 8];
        let at_end = len.saturating_sub(8);
        if file.read_at(&mut place, at_end)? < 8 {
            return Ok(Err(at_end));
        }
        let end = u64::from_le_bytes(place);
        if end >= at_end {
            return Ok(Err(at_end));
        }
        let Some(Ok(frame)) = LogFrames::new(&*file, end, at_end).next()? else {
            return Ok(Err(end));
        };
        let mut snapshot = Self {
            name: name.into(),
            file,
            newest: 0,
            tables: Vec::new(),
            end,
            len,
        };
        let mut payload = frame.payload;
        while let Some(place) = writes::next(&mut payload) {
            let value = u64::from_le_bytes(eight(&place.value.unwrap_or_default()));
            match place.key.is_empty() {
                true => snapshot.newest = value,
                false => snapshot.tables.push((place.key, value)),
            }
        }
        Ok(Ok(snapshot))
    }

    /// The frames of one table, and where the next table begins.
    pub(super) fn table(&self, table: &[u8]) -> Option<(u64, u64)> {
        let at = self.tables.iter().position(|(name, _)| **name == *table)?;
        let next = self.tables.get(at + 1).map_or(self.end, |(_, next)| *next);
        Some((self.tables[at].1, next))
    }

    /// The names of its tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Bytes> {
        self.tables.iter().map(|(name, _)| name)
    }
}
