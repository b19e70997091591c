//! Frames: the parts of a segment. So a fault is found, and the frames behind it can be read.
//!
//! A segment begins with a prologue: `"musterd-msgs", format (u32), mark (u64), 0 (u32), checksum (u32)`. Frames follow,
//! each at a multiple of 8: `mark (u64), number (u64), lag (u32), length of the head (u32), length of the body (u32),
//! checksum of the body (u32), kind (u8), flags (u8), 0 (u16), checksum of header and head (u32), head, body, zeros`.
//! All numbers are little endian.
//!
//! The number counts frames, over all segments. The number minus the lag is the newest frame that was durable
//! when this one was written. With it a reader distinguishes a torn write (never acknowledged as durable)
//! from damage to durable data. The mark is a secret of the log, so that no body of a message can be taken
//! for a frame.

use std::io;

use crate::disk::{CHUNK, ChunkReader, DiskFile};
use bytes::Bytes;

/// The format of the files that this version writes.
pub(super) const FORMAT: u32 = 1;
const MAGIC: &[u8; 12] = b"musterd-msgs";
pub(super) const PROLOGUE: usize = 32;
/// The bytes before the head.
pub(super) const HEADER: usize = 40;
/// Frames begin at multiples of it.
pub(super) const ALIGN: usize = 8;
/// More frames belong to the same group.
const MORE: u8 = 1;
/// A lag that says nothing.
const UNKNOWN_LAG: u32 = u32::MAX;

/// The kind of a frame's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameContent {
    /// The segments that exist. The first frame of each segment.
    Start,
    /// A message.
    Message,
    /// Settlements, deliveries and moves of messages.
    Changes,
    /// Frames up to this number are missing after a repair.
    Gap,
}

impl FrameContent {
    fn code(self) -> u8 {
        match self {
            Self::Start => 1,
            Self::Message => 2,
            Self::Changes => 3,
            Self::Gap => 4,
        }
    }

    fn of(code: u8) -> Option<Self> {
        let all = [Self::Start, Self::Message, Self::Changes, Self::Gap];
        all.into_iter().find(|content| content.code() == code)
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FrameHeader {
    pub(super) number: u64,
    /// The newest durable number when it was written.
    pub(super) synced: u64,
    pub(super) content: FrameContent,
    /// Whether the next frame belongs to the same group.
    pub(super) more: bool,
    pub(super) head_len: u32,
    pub(super) body_len: u32,
    pub(super) body_sum: u32,
}

impl FrameHeader {
    /// The bytes before the head.
    pub(super) fn encode(&self, mark: u64, head: &[u8]) -> [u8; HEADER] {
        let lag = u32::try_from(self.number.saturating_sub(self.synced)).unwrap_or(UNKNOWN_LAG);
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&mark.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..20].copy_from_slice(&lag.to_le_bytes());
        out[20..24].copy_from_slice(&self.head_len.to_le_bytes());
        out[24..28].copy_from_slice(&self.body_len.to_le_bytes());
        out[28..32].copy_from_slice(&self.body_sum.to_le_bytes());
        out[32] = self.content.code();
        out[33] = u8::from(self.more) * MORE;
        let sum = checksum(&[&out[..36], head]);
        out[36..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The header that these bytes begin with, not yet checked, and its checksum.
    fn decode(mark: u64, bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes = bytes.first_chunk::<HEADER>()?;
        if u64_at(bytes, 0) != mark {
            return None;
        }
        let (number, lag) = (u64_at(bytes, 8), u32_at(bytes, 16));
        let synced = match lag {
            UNKNOWN_LAG => 0,
            lag => number.saturating_sub(lag.into()),
        };
        let header = Self {
            number,
            synced,
            content: FrameContent::of(bytes[32])?,
            more: bytes[33] & MORE != 0,
            head_len: u32_at(bytes, 20),
            body_len: u32_at(bytes, 24),
            body_sum: u32_at(bytes, 28),
        };
        Some((header, u32_at(bytes, 36)))
    }

    /// Checks a whole frame: its header, and where head and body are in `bytes`.
    pub(super) fn check(mark: u64, bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (header, sum) = Self::decode(mark, bytes)?;
        let body_at = HEADER + header.head_len as usize;
        let head = bytes.get(HEADER..body_at)?;
        let body = bytes.get(body_at..body_at + header.body_len as usize)?;
        let is_sound =
            checksum(&[&bytes[..36], head]) == sum && checksum(&[body]) == header.body_sum;
        is_sound.then_some((header, head, body))
    }

    /// The length of a frame by its header alone, which is not checked.
    pub(super) fn claimed_len(mark: u64, bytes: &[u8]) -> Option<u64> {
        Self::decode(mark, bytes).map(|(header, _)| header.len())
    }

    /// The bytes of the frame, with its padding.
    pub(super) fn len(&self) -> u64 {
        frame_len(self.head_len.into(), self.body_len.into())
    }
}

/// The bytes of a frame, with its padding.
pub(super) fn frame_len(head: u64, body: u64) -> u64 {
    (HEADER as u64 + head + body).next_multiple_of(ALIGN as u64)
}

pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    u32::from_le_bytes(found.copied().unwrap_or_default())
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    u64::from_le_bytes(found.copied().unwrap_or_default())
}

/// The beginning of a segment.
pub(super) fn prologue(mark: u64) -> [u8; PROLOGUE] {
    let mut out = [0; PROLOGUE];
    out[..12].copy_from_slice(MAGIC);
    out[12..16].copy_from_slice(&FORMAT.to_le_bytes());
    out[16..24].copy_from_slice(&mark.to_le_bytes());
    let sum = checksum(&[&out[..28]]);
    out[28..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// The result of reading the beginning of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Prologue {
    /// A segment with this mark.
    Sound(u64),
    /// A segment of a later format.
    Newer(u32),
    /// Not written as a whole: too short, or zeros.
    Unwritten,
    /// No segment, or a damaged one; with the bytes in the mark's place.
    Damaged(u64),
}

impl Prologue {
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let mut bytes = [0; PROLOGUE];
        let n = file.read_at(&mut bytes, 0)?;
        if n < PROLOGUE || bytes == [0; PROLOGUE] {
            return Ok(Self::Unwritten);
        }
        if bytes[..12] != *MAGIC || checksum(&[&bytes[..28]]) != u32_at(&bytes, 28) {
            return Ok(Self::Damaged(u64_at(&bytes, 16)));
        }
        Ok(match u32_at(&bytes, 12) {
            FORMAT => Self::Sound(u64_at(&bytes, 16)),
            found => Self::Newer(found),
        })
    }
}

/// A frame that was read, its body still in the file.
#[derive(Clone, Debug)]
pub(super) struct FoundFrame {
    /// Where it begins.
    pub(super) at: u64,
    pub(super) header: FrameHeader,
    pub(super) head: Bytes,
}

/// The frame at the reader's place cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BrokenFrame;

/// Reads the frames of a segment one after the other.
#[derive(Debug)]
pub(super) struct FrameScan<'a> {
    chunks: ChunkReader<'a>,
    mark: u64,
    /// Where the next frame begins.
    pub(super) at: u64,
}

impl<'a> FrameScan<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, mark: u64, from: u64, end: u64) -> Self {
        Self {
            chunks: ChunkReader::new(file, end),
            mark,
            at: from,
        }
    }

    /// The next frame, its body checked; none at the end. The place stays before one that is broken.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<FoundFrame, BrokenFrame>>> {
        self.advance(true)
    }

    /// The next frame, its body not checked; none at the end. The place stays before one that is broken.
    pub(super) fn next_unchecked(&mut self) -> io::Result<Option<Result<FoundFrame, BrokenFrame>>> {
        self.advance(false)
    }

    fn advance(&mut self, with_body: bool) -> io::Result<Option<Result<FoundFrame, BrokenFrame>>> {
        if self.at >= self.chunks.end() {
            return Ok(None);
        }
        let Some(frame) = self.frame(self.at)? else {
            return Ok(Some(Err(BrokenFrame)));
        };
        if with_body && !self.is_body_sound(&frame)? {
            return Ok(Some(Err(BrokenFrame)));
        }
        self.at += frame.header.len();
        Ok(Some(Ok(frame)))
    }

    /// The first frame with a sound head that begins behind the current place.
    pub(super) fn resume(&mut self) -> io::Result<Option<FoundFrame>> {
        let mut at = self.at.next_multiple_of(ALIGN as u64);
        if at == self.at {
            at += ALIGN as u64;
        }
        let mark = self.mark.to_le_bytes();
        while at + HEADER as u64 <= self.chunks.end() {
            let bytes = self.chunks.bytes(at, CHUNK)?;
            let places = bytes.chunks_exact(ALIGN);
            let Some(found) = places.clone().position(|eight| eight == mark) else {
                at += (places.len().max(1) * ALIGN) as u64;
                continue;
            };
            at += (found * ALIGN) as u64;
            if let Some(frame) = self.frame(at)? {
                self.at = at + frame.header.len();
                return Ok(Some(frame));
            }
            at += ALIGN as u64;
        }
        Ok(None)
    }

    /// The body of a frame; none when it is damaged.
    pub(super) fn body(&mut self, frame: &FoundFrame) -> io::Result<Option<Bytes>> {
        let body = self
            .chunks
            .bytes(body_at(frame), frame.header.body_len as usize)?;
        let is_sound = body.len() == frame.header.body_len as usize
            && checksum(&[&body]) == frame.header.body_sum;
        Ok(is_sound.then_some(body))
    }

    fn frame(&mut self, at: u64) -> io::Result<Option<FoundFrame>> {
        let bytes = self.chunks.bytes(at, HEADER)?;
        let Some((header, sum)) = FrameHeader::decode(self.mark, &bytes) else {
            return Ok(None);
        };
        // Compared with the file before anything is allocated.
        if at + header.len() > self.chunks.end() {
            return Ok(None);
        }
        let head = self
            .chunks
            .bytes(at + HEADER as u64, header.head_len as usize)?;
        if head.len() < header.head_len as usize || checksum(&[&bytes[..36], &head]) != sum {
            return Ok(None);
        }
        Ok(Some(FoundFrame { at, header, head }))
    }

    fn is_body_sound(&mut self, frame: &FoundFrame) -> io::Result<bool> {
        let mut hasher = crc32fast::Hasher::new();
        let (mut at, mut left) = (body_at(frame), frame.header.body_len as usize);
        while left > 0 {
            let bytes = self.chunks.bytes(at, left.min(CHUNK))?;
            if bytes.is_empty() {
                return Ok(false);
            }
            hasher.update(&bytes);
            at += bytes.len() as u64;
            left -= bytes.len();
        }
        Ok(hasher.finalize() == frame.header.body_sum)
    }
}

fn body_at(frame: &FoundFrame) -> u64 {
    frame.at + HEADER as u64 + u64::from(frame.header.head_len)
}
