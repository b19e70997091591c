//! Backups of an open store, and a folder made from one.

use std::{
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{
    FORMAT, Store, StoreError,
    archive::{ArchiveReader, ArchiveWriter},
    contents::WriteFailed,
    format::{FORMAT_FILE, FoundFormat, format_text},
    lock,
    open::RESTORING,
    recover::{segment_name, snapshot_name},
};
use crate::disk::{CHUNK, Disk, FolderDisk};

/// The part with all tables, in the form of a snapshot file.
const SNAPSHOT: &str = "snapshot";
const STAGED: &str = "restoring";

/// A file that another room keeps in the folder of the store.
#[derive(Clone, Debug)]
pub struct BackupFile {
    /// Its path in that folder.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// How much of it belongs to the backup.
    pub len: u64,
}

impl Store {
    /// Writes everything that is committed now, as a backup, with files of other rooms. Commits continue
    /// meanwhile.
    ///
    /// # Errors
    /// A file cannot be read, or `out` not be written.
    pub fn backup(&self, out: impl io::Write, files: &[BackupFile]) -> io::Result<()> {
        let contents = self.contents().map_err(io::Error::other)?;
        let mut archive = ArchiveWriter::new(out)?;
        archive.begin(FORMAT_FILE)?;
        archive.piece(format_text().as_bytes())?;
        archive.end()?;
        archive.begin(SNAPSHOT)?;
        let written = contents.write(|bytes, _| archive.piece(bytes));
        written.map_err(|failed| match failed {
            WriteFailed::Write(error) => error,
            WriteFailed::Read(error) => io::Error::other(error),
        })?;
        archive.end()?;
        for file in files {
            file.copy_into(&mut archive)?;
        }
        archive.finish()
    }
}

impl BackupFile {
    fn copy_into(&self, archive: &mut ArchiveWriter<impl io::Write>) -> io::Result<()> {
        let unreadable = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        };
        archive.begin(&self.name)?;
        let mut file = fs::File::open(&self.path).map_err(unreadable)?;
        let mut chunk = vec![0; CHUNK];
        let mut left = self.len;
        while left > 0 {
            let len = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            file.read_exact(&mut chunk[..len]).map_err(unreadable)?;
            archive.piece(&chunk[..len])?;
            left -= len as u64;
        }
        archive.end()
    }
}

/// Reads a whole backup and checks it.
///
/// # Errors
/// It is damaged, or cannot be read.
pub fn verify(backup: impl Read) -> io::Result<()> {
    let mut archive = ArchiveReader::new(backup)?;
    while archive.part()?.is_some() {
        while archive.piece()?.is_some() {}
    }
    Ok(())
}

/// Puts the store of a backup into a folder. The old content is kept in another folder: the answer has its
/// path.
///
/// # Errors
/// A daemon uses the folder, the backup is damaged, or the disk cannot be written. Nothing was changed then, or, if the
/// move of files was interrupted, the folder is refused until a restore succeeds.
pub fn restore(backup: impl Read, path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let (disk, _lock) = lock(path)?;
    let unusable = |error| StoreError::Unusable {
        path: path.to_owned(),
        source: Arc::new(error),
    };
    let staged = path.join(STAGED);
    stage(backup, &staged)
        .inspect_err(|_| drop(fs::remove_dir_all(&staged)))
        .map_err(unusable)?;
    replace(&disk, path, &staged).map_err(unusable)
}

/// Writes the parts of a backup into a new folder.
fn stage(backup: impl Read, staged: &Path) -> io::Result<()> {
    if staged.exists() {
        fs::remove_dir_all(staged)?;
    }
    let mut archive = ArchiveReader::new(backup)?;
    FolderDisk::new(staged)?;
    while let Some(part) = archive.part()? {
        let file = staged.join(file_of(&part)?);
        let (folder, name) = (file.parent().unwrap_or(staged), file.file_name());
        let disk = FolderDisk::new(folder)?;
        let file = disk.create(&name.unwrap_or_default().to_string_lossy())?;
        let mut at = 0;
        while let Some(piece) = archive.piece()? {
            file.write_at(&piece, at)?;
            at += piece.len() as u64;
        }
        file.sync()?;
        disk.sync()?;
    }
    check_format(staged)?;
    // A snapshot without the log behind it has lost it.
    let disk = FolderDisk::new(staged)?;
    disk.create(&segment_name(2))?;
    disk.sync()
}

/// Where a part belongs. A name may lead into folders, and never out of the store's.
fn file_of(part: &str) -> io::Result<PathBuf> {
    if part == SNAPSHOT {
        return Ok(snapshot_name(1).into());
    }
    let path = PathBuf::from(part);
    let is_inside = |component| matches!(component, Component::Normal(_));
    if part.is_empty() || !path.components().all(is_inside) {
        let text = format!("the backup has a part {part:?}, which this version does not know");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(path)
}

fn check_format(staged: &Path) -> io::Result<()> {
    let text = fs::read(staged.join(FORMAT_FILE))?;
    let found = FoundFormat::of(&text);
    found.check_version(staged).map_err(io::Error::other)?;
    match found {
        FoundFormat::Known(FORMAT) => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the backup does not name its format: it is no backup of musterd",
        )),
    }
}

/// Moves the present files aside and the staged ones into their place. While the marker is there, no daemon opens the
/// folder.
fn replace(disk: &FolderDisk, path: &Path, staged: &Path) -> io::Result<Option<PathBuf>> {
    disk.create(RESTORING)?.sync()?;
    disk.sync()?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ms = since.map_or(0, |since| since.as_millis());
    let aside = path.join(format!("before-restore-{now_ms}"));
    let mut moved = 0;
    for name in names(path)? {
        let stays = ["LOCK", RESTORING, STAGED].contains(&&*name)
            || name.starts_with("before-restore-")
            || name.starts_with("damaged-");
        if stays {
            continue;
        }
        if moved == 0 {
            FolderDisk::new(&aside)?;
        }
        fs::rename(path.join(&name), aside.join(&name))?;
        moved += 1;
    }
    disk.sync()?;
    for name in names(staged)? {
        fs::rename(staged.join(&name), path.join(&name))?;
    }
    fs::remove_dir(staged)?;
    disk.sync()?;
    disk.remove(RESTORING)?;
    disk.sync()?;
    Ok((moved > 0).then_some(aside))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}
