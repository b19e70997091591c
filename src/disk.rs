//! The files of one folder, behind a trait: tests use a disk in memory that fails. Also reading in order.

mod chunks;
mod note;
#[cfg(test)]
pub(crate) mod testing;

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;

pub use self::{
    chunks::{CHUNK, ChunkReader},
    note::NoteFile,
};

/// The files of one folder.
pub trait Disk: fmt::Debug + Send + Sync {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file, of a name that nothing in the folder has.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes an empty file; one of the same name is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file; one of the new name is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes new names and removals durable.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
#[expect(
    clippy::len_without_is_empty,
    reason = "nobody asks whether a file is empty"
)]
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to the length of `into`; fewer bytes only at the end of the file.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all of it, so that it survives the end of the process.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Cuts it off, or fills it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system: its own mode is 0700, that of its files 0600.
#[derive(Debug)]
pub struct FolderDisk(PathBuf);

impl FolderDisk {
    /// Makes the folder where it does not exist.
    ///
    /// # Errors
    /// It cannot be made, or its mode cannot be changed.
    pub fn new(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        }
        repair_mode(path, 0o700)?;
        Ok(Self(path.to_owned()))
    }

    /// The folder, which is created if it does not exist, and its lock; none if another process holds the
    /// lock. It is held as long as the file is open.
    ///
    /// # Errors
    /// The folder or the lock cannot be made.
    pub fn locked(path: &Path) -> io::Result<Option<(Self, File)>> {
        let disk = Self::new(path)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(path.join("LOCK"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some((disk, file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Sets the modes of folders and of the files in them to 0700 and 0600, where other users may read them or the owner
/// cannot: how many were changed. Folders that do not exist are left out.
///
/// # Errors
/// A mode cannot be read or set.
pub fn repair_modes(folders: &[PathBuf]) -> io::Result<usize> {
    let mut repaired = 0;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        repaired += usize::from(repair_mode(folder, 0o700)?);
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // No links: what they lead to may belong to others.
            if entry.file_type()?.is_file() {
                repaired += usize::from(repair_mode(&entry.path(), 0o600)?);
            }
        }
    }
    Ok(repaired)
}

/// Whether the mode had to be changed.
fn repair_mode(path: &Path, mode: u32) -> io::Result<bool> {
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o777 == mode {
        return Ok(false);
    }
    permissions.set_mode(mode);
    fs::set_permissions(path, permissions)?;
    Ok(true)
}

impl Disk for FolderDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            // Also entries that are no files: a segment must not be taken for missing because it is a link or
            // a folder.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(self.0.join(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true);
        let file = options.mode(0o600).open(self.0.join(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let file = options.mode(0o600).open(self.0.join(name))?;
        Ok(Arc::new(OpenFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

#[derive(Debug)]
struct OpenFile(File);

impl DiskFile for OpenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Runs `work`, which waits for the disk, on a thread for such work.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // The runtime ends before its blocking tasks only when the process does.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
