//! Whether the last run has ended in good order: a file that exists only between a clean stop and the next start.
//!
//! Without it a delivery may have been made and not been written. So each message that is found counts as delivered
//! before. The file also has the messages for which that was so at an earlier start.
//!
//! The file: `"musterd-stop", count (u32), mark (u64), count × (queue (u64), below (u64)), checksum (u32)`, all little
//! endian.

use std::{collections::BTreeMap, io};

use bytes::{Buf, BufMut};

use super::{
    QueueNumber, RecoveredQueue,
    frame::{checksum, u32_at},
};
use crate::disk::Disk;

/// The name of the file.
pub(super) const STOPPED: &str = "STOPPED";
const UNFINISHED: &str = "STOPPED.tmp";
const MAGIC: &[u8; 12] = b"musterd-stop";
const HEAD: usize = 24;
const ROW: usize = 16;
const SUM: usize = 4;

/// The position below which each message of a queue was there when a run ended without a clean stop.
pub(super) type ReturnedBelow = BTreeMap<QueueNumber, u64>;

/// What the file says. None: there is no such file, or it is of another log, so the last run has not ended in good order.
pub(super) fn read(disk: &dyn Disk, mark: Option<u64>) -> io::Result<Option<ReturnedBelow>> {
    let file = match disk.open(STOPPED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or_default()];
    let n = file.read_at(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(mark.and_then(|mark| decode(&bytes, mark)))
}

/// From now on the run counts as one that has not ended in good order.
pub(super) fn remove(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(STOPPED) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| disk.sync()),
    }
}

/// The run has ended in good order.
pub(super) fn write(disk: &dyn Disk, mark: u64, returned: &ReturnedBelow) -> io::Result<()> {
    let file = disk.create(UNFINISHED)?;
    file.write_at(&encode(mark, returned), 0)?;
    file.sync()?;
    disk.rename(UNFINISHED, STOPPED)?;
    disk.sync()
}

/// The messages of these queues that were there at a start without a clean stop before it.
pub(super) fn returned(stopped: Option<ReturnedBelow>, queues: &[RecoveredQueue]) -> ReturnedBelow {
    let below = |queue: &RecoveredQueue| match &stopped {
        None => queue.next_position,
        // The log may have forgotten positions, which are used again.
        Some(stopped) => {
            let below = stopped.get(&queue.queue).copied();
            below.unwrap_or(0).min(queue.next_position)
        }
    };
    let found = queues.iter().filter(|queue| queue.messages > 0);
    let found = found.map(|queue| (queue.queue, below(queue)));
    found.filter(|(_, below)| *below > 0).collect()
}

fn encode(mark: u64, returned: &ReturnedBelow) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + ROW * returned.len() + SUM);
    out.put_slice(MAGIC);
    out.put_u32_le(u32::try_from(returned.len()).unwrap_or(u32::MAX));
    out.put_u64_le(mark);
    for (queue, below) in returned {
        out.put_u64_le(*queue);
        out.put_u64_le(*below);
    }
    let sum = checksum(&[&out]);
    out.put_u32_le(sum);
    out
}

fn decode(bytes: &[u8], mark: u64) -> Option<ReturnedBelow> {
    let content = bytes.len().checked_sub(SUM).filter(|len| *len >= HEAD)?;
    let (mut content, sum) = bytes.split_at(content);
    if checksum(&[content]) != u32_at(sum, 0) || !content.starts_with(MAGIC) {
        return None;
    }
    content.advance(MAGIC.len());
    let count = usize::try_from(content.get_u32_le()).ok()?;
    let is_its = content.get_u64_le() == mark && content.len() / ROW == count;
    is_its.then(|| {
        let rows = (0..count).map(|_| (content.get_u64_le(), content.get_u64_le()));
        rows.collect()
    })
}
