//! The files of a log at one moment, for a copy while it is used.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::SeqCst},
};

use super::{segments::segment_name, shared::Shared};

/// The files of a log as they were at one moment: a copy of them is a log with everything that was durable then. As
/// long as this exists none of them is removed, so no space is given back.
#[derive(Debug)]
pub struct FrozenLog {
    shared: Arc<Shared>,
    files: Vec<FrozenFile>,
}

/// A file to copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrozenFile {
    /// The file.
    pub path: PathBuf,
    /// How much of it belongs to the copy; it never changes.
    pub len: u64,
}

impl FrozenLog {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        // Before the files are listed: the listed ones are not removed from now on.
        shared.frozen.fetch_add(1, SeqCst);
        let lens = shared.index.lock().segments.lens();
        let file = |(number, len)| FrozenFile {
            path: shared.folder.join(segment_name(number)),
            len,
        };
        Self {
            shared: Arc::clone(shared),
            files: lens.into_iter().map(file).collect(),
        }
    }

    /// The files, in the order of their writing.
    pub fn files(&self) -> &[FrozenFile] {
        &self.files
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}

impl Drop for FrozenLog {
    fn drop(&mut self) {
        self.shared.frozen.fetch_sub(1, SeqCst);
        self.shared.wake(&mut self.shared.pending.lock());
    }
}
