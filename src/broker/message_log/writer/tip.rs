//! The end of the log: where frames are written, and up to where they are durable.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{WriteFault, chunk::Chunk};
use crate::{
    broker::message_log::{
        frame::{FrameContent, prologue},
        record::{SegmentNumber, SegmentStart},
        segments::segment_name,
    },
    disk::{Disk, DiskFile},
};

/// The segment that is written.
#[derive(Clone, Debug)]
pub(in crate::broker::message_log) struct ActiveSegment {
    pub(in crate::broker::message_log) number: SegmentNumber,
    pub(in crate::broker::message_log) file: Arc<dyn DiskFile>,
    pub(in crate::broker::message_log) len: u64,
}

/// The end of the log.
#[derive(Debug, Default)]
pub(in crate::broker::message_log) struct LogTip {
    pub(in crate::broker::message_log) active: Option<ActiveSegment>,
    /// No segment has a higher number.
    pub(in crate::broker::message_log) highest: SegmentNumber,
    /// The number of the newest frame.
    pub(in crate::broker::message_log) newest: u64,
    /// The number of the newest durable frame.
    pub(in crate::broker::message_log) synced: u64,
    /// Earlier segments whose end is not durable yet.
    pub(in crate::broker::message_log) unsynced: Vec<Arc<dyn DiskFile>>,
    /// A new segment's name is not durable yet.
    pub(in crate::broker::message_log) is_name_unsynced: bool,
}

impl LogTip {
    /// Writes a chunk, all of it or nothing.
    pub(super) fn append(&mut self, chunk: &Chunk) -> Result<(), WriteFault> {
        let Some(active) = &mut self.active else {
            return Err(WriteFault::Failed("there is no segment".into()));
        };
        if let Err(error) = chunk.write(&*active.file, active.len) {
            let fault = WriteFault::of("write", &error);
            if let WriteFault::Full = fault {
                let cut = active.file.set_len(active.len);
                cut.map_err(|error| WriteFault::failed("truncate", &error))?;
            }
            return Err(fault);
        }
        active.len += chunk.len();
        self.newest = chunk.newest;
        Ok(())
    }

    /// Begins a new segment. The last one is written no longer.
    pub(super) fn rotate(
        &mut self,
        disk: &dyn Disk,
        mark: u64,
        earlier: Vec<SegmentNumber>,
    ) -> Result<(), WriteFault> {
        let segment = self.highest + 1;
        let mut chunk = Chunk::default();
        chunk.begin(mark, self.newest, self.synced);
        chunk.raw(&prologue(mark));
        let start = SegmentStart { segment, earlier };
        let no_body = Bytes::new();
        chunk.frame(FrameContent::Start, false, |out| start.put(out), &no_body);
        let name = segment_name(segment);
        let file = disk.create_new(&name);
        let file = file.map_err(|error| WriteFault::of("create", &error))?;
        if let Err(error) = chunk.write(&*file, 0) {
            let fault = WriteFault::of("write", &error);
            if let WriteFault::Full = fault {
                let removed = disk.remove(&name);
                removed.map_err(|error| WriteFault::failed("remove", &error))?;
            }
            return Err(fault);
        }
        let active = ActiveSegment {
            number: segment,
            file,
            len: chunk.len(),
        };
        let last = self.active.replace(active);
        self.unsynced.extend(last.map(|last| last.file));
        self.highest = segment;
        self.newest = chunk.newest;
        self.is_name_unsynced = true;
        Ok(())
    }

    /// Makes everything durable that was written.
    pub(in crate::broker::message_log) fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        for file in &self.unsynced {
            file.sync()?;
        }
        if let Some(active) = &self.active {
            active.file.sync()?;
        }
        if self.is_name_unsynced {
            disk.sync()?;
        }
        self.unsynced.clear();
        self.is_name_unsynced = false;
        self.synced = self.newest;
        Ok(())
    }
}
