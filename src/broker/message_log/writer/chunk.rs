//! Frames that are written at once.

use std::io;

use bytes::Bytes;

use crate::{
    broker::message_log::frame::{ALIGN, FrameContent, FrameHeader, HEADER, checksum},
    disk::DiskFile,
};

/// A body that is longer is written from where it is, without a copy.
const COPIED_MAX: usize = 64 << 10;

/// Frames that are written at once.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    mark: u64,
    synced: u64,
    /// The number of the last frame.
    pub(super) newest: u64,
    bytes: Vec<u8>,
    /// Long bodies, each with the number of `bytes` before it.
    bodies: Vec<(usize, Bytes)>,
    bodies_len: u64,
}

impl Chunk {
    /// Begins again, behind a frame of this number.
    pub(super) fn begin(&mut self, mark: u64, newest: u64, synced: u64) {
        self.bytes.clear();
        self.bodies.clear();
        self.bodies_len = 0;
        self.mark = mark;
        self.newest = newest;
        self.synced = synced;
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64 + self.bodies_len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that are no frame.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a frame: the length of its head.
    pub(super) fn frame(
        &mut self,
        content: FrameContent,
        more: bool,
        put_head: impl FnOnce(&mut Vec<u8>),
        body: &Bytes,
    ) -> u32 {
        let at = self.bytes.len();
        self.bytes.resize(at + HEADER, 0);
        put_head(&mut self.bytes);
        self.newest += 1;
        let head = &self.bytes[at + HEADER..];
        let header = FrameHeader {
            number: self.newest,
            synced: self.synced,
            content,
            more,
            head_len: frame_part(head.len()),
            body_len: frame_part(body.len()),
            body_sum: checksum(&[body]),
        };
        let encoded = header.encode(self.mark, head);
        self.bytes[at..at + HEADER].copy_from_slice(&encoded);
        self.body(body);
        header.head_len
    }

    fn body(&mut self, body: &Bytes) {
        if body.len() > COPIED_MAX {
            self.bodies.push((self.bytes.len(), body.clone()));
            self.bodies_len += body.len() as u64;
        } else {
            self.bytes.extend_from_slice(body);
        }
        let filled = self.len().next_multiple_of(ALIGN as u64) - self.len();
        let filled = usize::try_from(filled).unwrap_or_default();
        self.bytes.resize(self.bytes.len() + filled, 0);
    }

    /// Writes everything behind `at`.
    pub(super) fn write(&self, file: &dyn DiskFile, mut at: u64) -> io::Result<()> {
        let mut from = 0;
        let mut put = |bytes: &[u8]| {
            if !bytes.is_empty() {
                file.write_at(bytes, at)?;
                at += bytes.len() as u64;
            }
            Ok::<_, io::Error>(())
        };
        for (to, body) in &self.bodies {
            put(&self.bytes[from..*to])?;
            put(body)?;
            from = *to;
        }
        put(&self.bytes[from..])
    }
}

/// The length of a head or body. Both are far below 4 GiB.
fn frame_part(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
