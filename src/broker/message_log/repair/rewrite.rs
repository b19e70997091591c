//! Writes the sound frames of a segment into a new file.

use std::io;

use bytes::Bytes;

use crate::{
    broker::message_log::{
        frame::{ALIGN, FoundFrame, FrameContent, FrameHeader, checksum, prologue},
        record::SegmentStart,
    },
    disk::DiskFile,
};

/// A file that is written.
#[derive(Debug)]
pub(super) struct Rewrite<'a> {
    to: &'a dyn DiskFile,
    mark: u64,
    at: u64,
    /// The number of the last frame.
    newest: u64,
    /// The last frame, which may turn out to be the last one of its group.
    held: Option<(FoundFrame, Bytes)>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn begin(
        to: &'a dyn DiskFile,
        mark: u64,
        newest: u64,
        start: &SegmentStart,
    ) -> io::Result<Self> {
        let prologue = prologue(mark);
        to.write_at(&prologue, 0)?;
        let mut rewrite = Self {
            to,
            mark,
            at: prologue.len() as u64,
            newest,
            held: None,
        };
        let mut head = Vec::new();
        start.put(&mut head);
        rewrite.own(FrameContent::Start, head)?;
        Ok(rewrite)
    }

    /// Something is missing here: the group that it belonged to ends.
    pub(super) fn interrupt(&mut self) {
        if let Some((held, _)) = &mut self.held {
            held.header.more = false;
        }
    }

    /// Appends a frame with the number that it has.
    pub(super) fn put(&mut self, frame: FoundFrame, body: Bytes) -> io::Result<()> {
        let number = frame.header.number;
        if frame.header.content == FrameContent::Start || number <= self.newest_held() {
            return Ok(());
        }
        if number != self.newest_held() + 1 {
            self.interrupt();
        }
        self.release()?;
        self.skip_to(number)?;
        self.held = Some((frame, body));
        Ok(())
    }

    /// The end, before a segment that begins with this number: the number of the last frame.
    pub(super) fn finish(mut self, follows: Option<u64>) -> io::Result<u64> {
        if follows.is_some() {
            self.interrupt();
        }
        self.release()?;
        if let Some(follows) = follows {
            self.skip_to(follows)?;
        }
        Ok(self.newest)
    }

    fn newest_held(&self) -> u64 {
        let held = self.held.as_ref();
        held.map_or(self.newest, |(frame, _)| frame.header.number)
    }

    fn release(&mut self) -> io::Result<()> {
        match self.held.take() {
            Some((frame, body)) => self.write(&frame.header, &frame.head, &body),
            None => Ok(()),
        }
    }

    /// Notes that frames are missing before this number.
    fn skip_to(&mut self, number: u64) -> io::Result<()> {
        if number <= self.newest + 1 {
            return Ok(());
        }
        self.own(FrameContent::Gap, (number - 1).to_le_bytes().to_vec())?;
        self.newest = number - 1;
        Ok(())
    }

    fn own(&mut self, content: FrameContent, head: Vec<u8>) -> io::Result<()> {
        let header = FrameHeader {
            number: self.newest + 1,
            synced: 0,
            content,
            more: false,
            head_len: u32::try_from(head.len()).unwrap_or(u32::MAX),
            body_len: 0,
            body_sum: checksum(&[]),
        };
        self.write(&header, &head, &[])
    }

    fn write(&mut self, header: &FrameHeader, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.to.write_at(&header.encode(self.mark, head), self.at)?;
        let mut at = self.at + crate::broker::message_log::frame::HEADER as u64;
        for part in [head, body] {
            self.to.write_at(part, at)?;
            at += part.len() as u64;
        }
        let filled = at.next_multiple_of(ALIGN as u64) - at;
        let filled = usize::try_from(filled).unwrap_or_default();
        self.to.write_at(&[0; ALIGN][..filled], at)?;
        self.at += header.len();
        self.newest = header.number;
        Ok(())
    }
}

/// Copies a file, and makes the copy durable.
pub(super) fn copy(from: &dyn DiskFile, len: u64, to: &dyn DiskFile) -> io::Result<()> {
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < len {
        let n = from.read_at(&mut piece, at)?;
        if n == 0 {
            break;
        }
        to.write_at(&piece[..n], at)?;
        at += n as u64;
    }
    to.sync()
}
