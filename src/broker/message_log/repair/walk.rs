//! Reads the frames of a segment, and skips damaged ones.

use std::io;

use bytes::Bytes;

use crate::{
    broker::message_log::frame::{FoundFrame, FrameScan, PROLOGUE},
    disk::DiskFile,
};

/// A part of a segment.
#[derive(Debug)]
pub(super) enum WalkedPart {
    Frame(FoundFrame),
    /// From here to there nothing can be read.
    Damaged(u64, u64),
}

/// Reads the frames of a segment, and skips damaged ones.
#[derive(Debug)]
pub(super) struct FrameWalk<'a> {
    scan: FrameScan<'a>,
    end: u64,
}

impl<'a> FrameWalk<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, mark: u64, len: u64) -> Self {
        Self {
            scan: FrameScan::new(file, mark, PROLOGUE as u64, len),
            end: len,
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<WalkedPart>> {
        let from = self.scan.at;
        match self.scan.next()? {
            None => Ok(None),
            Some(Ok(frame)) => Ok(Some(WalkedPart::Frame(frame))),
            Some(Err(_)) => {
                self.scan.at = self.next_sound()?.unwrap_or(self.end);
                Ok(Some(WalkedPart::Damaged(from, self.scan.at)))
            }
        }
    }

    /// Where the next frame begins whose head and body are sound.
    fn next_sound(&mut self) -> io::Result<Option<u64>> {
        while let Some(frame) = self.scan.resume()? {
            self.scan.at = frame.at;
            if let Some(Ok(_)) = self.scan.next()? {
                return Ok(Some(frame.at));
            }
        }
        Ok(None)
    }

    /// The body of a frame that was just read.
    pub(super) fn body(&mut self, frame: &FoundFrame) -> io::Result<Bytes> {
        let body = self.scan.body(frame)?;
        body.ok_or_else(|| io::Error::other("the file changes while it is read"))
    }
}
