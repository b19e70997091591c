//! A small file that is replaced in place, without an fsync for each write.

use std::{io, sync::Arc};

use super::{Disk, DiskFile};

/// A file of `LEN` bytes with this name, opened at the first write.
#[derive(Debug)]
pub struct NoteFile<const LEN: usize> {
    name: &'static str,
    file: Option<Arc<dyn DiskFile>>,
}

impl<const LEN: usize> NoteFile<LEN> {
    /// Touches nothing yet.
    pub const fn new(name: &'static str) -> Self {
        Self { name, file: None }
    }

    /// What the file holds; none where it does not exist or is shorter.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, disk: &dyn Disk) -> io::Result<Option<[u8; LEN]>> {
        let file = match disk.open(self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut bytes = [0; LEN];
        let n = file.read_at(&mut bytes, 0)?;
        Ok((n == LEN).then_some(bytes))
    }

    /// Replaces what it holds, up to the operating system.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, disk: &dyn Disk, bytes: &[u8; LEN]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(open(disk, self.name)?),
        };
        file.write_at(bytes, 0)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sync(&self, disk: &dyn Disk) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync()?;
        disk.sync()
    }
}

fn open(disk: &dyn Disk, name: &str) -> io::Result<Arc<dyn DiskFile>> {
    match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(name),
        opened => opened,
    }
}
