//! A file of zeros, removed when the disk is full: so settlements, which make room, can still be written.

use std::io;

use super::WriteFault;
use crate::disk::Disk;

const NAME: &str = "RESERVE";
const PIECE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Reserve {
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            is_held: false,
        }
    }

    /// Takes over what an earlier run has left, if that is all of it. Otherwise it would be given away and might be lost.
    pub(super) fn take_over(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.is_held = match disk.open(NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            opened => opened?.len()? == self.bytes,
        };
        Ok(())
    }

    /// Whether there is to be one and is none.
    pub(super) fn is_missing(&self) -> bool {
        self.bytes > 0 && !self.is_held
    }

    /// Takes the space where it is not taken.
    pub(super) fn hold(&mut self, disk: &dyn Disk) -> Result<(), WriteFault> {
        if !self.is_missing() {
            return Ok(());
        }
        let file = disk.create(NAME);
        let file = file.map_err(|error| WriteFault::of("create", &error))?;
        let zeros = vec![0; PIECE];
        let mut at = 0;
        while at < self.bytes {
            let len = usize::try_from(self.bytes - at).map_or(PIECE, |left| left.min(PIECE));
            if let Err(error) = file.write_at(&zeros[..len], at) {
                self.remove(disk)?;
                return Err(WriteFault::of("write", &error));
            }
            at += len as u64;
        }
        self.is_held = true;
        Ok(())
    }

    /// Gives the space away; whether there was any.
    pub(super) fn release(&mut self, disk: &dyn Disk) -> Result<bool, WriteFault> {
        if !self.is_held {
            return Ok(false);
        }
        self.is_held = false;
        self.remove(disk)?;
        Ok(true)
    }

    fn remove(&self, disk: &dyn Disk) -> Result<(), WriteFault> {
        let removed = disk.remove(NAME);
        removed.map_err(|error| WriteFault::failed("remove", &error))
    }
}
