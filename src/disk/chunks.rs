//! A part of a file, read in large pieces.

use std::io;

use bytes::Bytes;

use super::DiskFile;

/// Bytes that are read at once.
pub const CHUNK: usize = 256 << 10;

/// Gives any bytes of a file up to an end, and keeps the piece that was read last.
#[derive(Debug)]
pub struct ChunkReader<'a> {
    file: &'a dyn DiskFile,
    end: u64,
    chunk: Bytes,
    chunk_at: u64,
}

impl<'a> ChunkReader<'a> {
    /// Reads a file up to `end`.
    pub fn new(file: &'a dyn DiskFile, end: u64) -> Self {
        Self {
            file,
            end,
            chunk: Bytes::new(),
            chunk_at: 0,
        }
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// `len` bytes from `at` on, or fewer at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&mut self, at: u64, len: usize) -> io::Result<Bytes> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = len.min(left);
        let inside = at.checked_sub(self.chunk_at);
        let inside = inside.and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = inside.filter(|skip| skip + len <= self.chunk.len()) {
            return Ok(self.chunk.slice(skip..skip + len));
        }
        let mut chunk = vec![0; len.max(CHUNK.min(left))];
        let n = self.file.read_at(&mut chunk, at)?;
        chunk.truncate(n);
        self.chunk = chunk.into();
        self.chunk_at = at;
        Ok(self.chunk.slice(..len.min(n)))
    }
}
