//! The file that says which format a store has: written last in a new folder, compared wholly at each start.

use std::{io, path::Path};

use super::{
    StoreError,
    open::Folder,
    recover::{Files, segment_name},
};

/// The format of the files that this version writes.
pub const FORMAT: u32 = 1;
pub(super) const FORMAT_FILE: &str = "FORMAT";
const BEFORE_NUMBER: &str = "musterd store format ";

/// What the file says.
pub(super) fn format_text() -> String {
    format!("{BEFORE_NUMBER}{FORMAT}\n")
}

/// What a folder says about its format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FoundFormat {
    /// There is no such file.
    Missing,
    /// The file, of so many bytes, holds something else.
    Unknown(u64),
    Known(u32),
}

impl FoundFormat {
    pub(super) fn of(text: &[u8]) -> Self {
        match number(text) {
            Some(number) => Self::Known(number),
            None => Self::Unknown(text.len() as u64),
        }
    }

    /// Refuses formats that other versions write.
    pub(super) fn check_version(self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_owned();
        match self {
            Self::Known(found) if found > FORMAT => Err(StoreError::Newer {
                path,
                found,
                known: FORMAT,
            }),
            // A later version migrates here, after a backup.
            Self::Known(found) if found < FORMAT => Err(StoreError::Older {
                path,
                found,
                known: FORMAT,
            }),
            _ => Ok(()),
        }
    }
}

fn number(text: &[u8]) -> Option<u32> {
    let text = str::from_utf8(text).ok()?;
    let digits = text.strip_prefix(BEFORE_NUMBER)?.strip_suffix('\n')?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

impl Folder<'_> {
    pub(super) fn found_format(&self) -> Result<FoundFormat, StoreError> {
        let read = || {
            let mut text = [0; 64];
            let file = match self.disk.open(FORMAT_FILE) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(FoundFormat::Missing);
                }
                opened => opened?,
            };
            let n = file.read_at(&mut text, 0)?;
            Ok(FoundFormat::of(&text[..n]))
        };
        read().map_err(|error| self.unusable(FORMAT_FILE, error))
    }

    /// Refuses a folder that this version does not read. False: it has no store yet.
    pub(super) fn has_store(&self, files: &Files) -> Result<bool, StoreError> {
        let found = self.found_format()?;
        found.check_version(self.path)?;
        let file = self.path.join(FORMAT_FILE);
        match found {
            FoundFormat::Known(_) => Ok(true),
            FoundFormat::Unknown(_) => Err(StoreError::UnknownFormat { file }),
            FoundFormat::Missing if self.is_new(files)? => Ok(false),
            FoundFormat::Missing => Err(StoreError::Missing { file }),
        }
    }

    /// Whether the folder holds no more than what a crash while a store was made leaves: an empty log.
    fn is_new(&self, files: &Files) -> Result<bool, StoreError> {
        if files.snapshot.is_some() || files.has_messages {
            return Ok(false);
        }
        match files.segments[..] {
            [] => Ok(true),
            [1] => {
                let name = segment_name(1);
                let len = self.disk.open(&name).and_then(|file| file.len());
                Ok(len.map_err(|error| self.unusable(&name, error))? == 0)
            }
            _ => Ok(false),
        }
    }

    /// Makes a new store. The log is durable first, so that a folder with a format and no log has lost it.
    pub(super) fn make_store(&self) -> Result<(), StoreError> {
        let name = segment_name(1);
        let made = self.disk.create(&name).and_then(|_| self.disk.sync());
        made.map_err(|error| self.unusable(&name, error))?;
        self.write_format()
    }

    pub(super) fn write_format(&self) -> Result<(), StoreError> {
        let unfinished = "FORMAT.tmp";
        let write = || {
            let file = self.disk.create(unfinished)?;
            file.write_at(format_text().as_bytes(), 0)?;
            file.sync()?;
            self.disk.rename(unfinished, FORMAT_FILE)?;
            self.disk.sync()
        };
        write().map_err(|error| self.unusable(FORMAT_FILE, error))
    }
}
