//! Frames: the parts of every file of the store. So a fault is found, and the frames behind it can be read.
//!
//! `magic, length of the payload (u32), number (u64), synced (u64), checksum (u32), payload`, little endian.
//! `synced` is the newest number that was durable when the frame was written. With it a reader distinguishes
//! a torn write (never acknowledged as durable) from damage to durable data.

use std::io;

use crate::disk::{CHUNK, ChunkReader, DiskFile};
use bytes::Bytes;

const MAGIC: [u8; 4] = *b"mSt1";
/// The bytes before the payload.
pub(super) const HEADER: usize = 28;

/// One frame of a file.
#[derive(Clone, Debug)]
pub(super) struct StoredFrame {
    /// Where it begins in the file.
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) synced: u64,
    pub(super) payload: Bytes,
}

/// Where a file cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Damage {
    pub(super) at: u64,
}

/// Fills in the first [`HEADER`] bytes of `frame`, whose payload is behind them.
pub(super) fn seal(frame: &mut [u8], number: u64, synced: u64) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a commit above 4 GiB");
    let len = u32::try_from(frame.len() - HEADER).map_err(too_long)?;
    frame[..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&len.to_le_bytes());
    frame[8..16].copy_from_slice(&number.to_le_bytes());
    frame[16..24].copy_from_slice(&synced.to_le_bytes());
    let sum = checksum(&frame[..24], &frame[HEADER..]);
    frame[24..HEADER].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads the frames of a file one after the other.
#[derive(Debug)]
pub(super) struct LogFrames<'a> {
    chunks: ChunkReader<'a>,
    /// Where the next one begins.
    pub(super) at: u64,
}

impl<'a> LogFrames<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, from: u64, end: u64) -> Self {
        Self {
            chunks: ChunkReader::new(file, end),
            at: from,
        }
    }

    /// The next frame; none at the end. After damage the place stays where it was.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<StoredFrame, Damage>>> {
        if self.at >= self.chunks.end() {
            return Ok(None);
        }
        let at = self.at;
        let Some(frame) = self.read(at)? else {
            return Ok(Some(Err(Damage { at })));
        };
        self.at = at + (HEADER + frame.payload.len()) as u64;
        Ok(Some(Ok(frame)))
    }

    /// The first whole frame that begins behind the current place.
    pub(super) fn resume(&mut self) -> io::Result<Option<StoredFrame>> {
        let mut at = self.at + 1;
        while at + HEADER as u64 <= self.chunks.end() {
            let bytes = self.chunks.bytes(at, CHUNK)?;
            let found = bytes.windows(MAGIC.len()).position(|four| *four == MAGIC);
            let Some(found) = found else {
                at += (bytes.len().saturating_sub(MAGIC.len() - 1)).max(1) as u64;
                continue;
            };
            at += found as u64;
            if let Some(frame) = self.read(at)? {
                self.at = at + (HEADER + frame.payload.len()) as u64;
                return Ok(Some(frame));
            }
            at += 1;
        }
        Ok(None)
    }

    fn read(&mut self, at: u64) -> io::Result<Option<StoredFrame>> {
        let header = self.chunks.bytes(at, HEADER)?;
        if header.len() < HEADER || header[..4] != MAGIC {
            return Ok(None);
        }
        let len = u32::from_le_bytes(four(&header[4..8])) as usize;
        // Compared with the file before anything is allocated.
        if at + (HEADER + len) as u64 > self.chunks.end() {
            return Ok(None);
        }
        let payload = self.chunks.bytes(at + HEADER as u64, len)?;
        let sum = u32::from_le_bytes(four(&header[24..HEADER]));
        if payload.len() < len || checksum(&header[..24], &payload) != sum {
            return Ok(None);
        }
        Ok(Some(StoredFrame {
            at,
            number: u64::from_le_bytes(eight(&header[8..16])),
            synced: u64::from_le_bytes(eight(&header[16..24])),
            payload,
        }))
    }
}

pub(super) fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().unwrap_or_default()
}

pub(super) fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.try_into().unwrap_or_default()
}
