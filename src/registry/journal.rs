//! Where decided changes are committed before anybody sees them.

use std::{fmt, pin::Pin, sync::Arc};

use super::Batch;

/// Commits batches, one after the other: the next one comes after the last was answered.
///
/// A batch that is lost has changed nothing: its commands are refused, and the next batch is decided on the
/// state before it.
pub trait Journal: fmt::Debug + Send {
    /// Begins to commit a batch. Called under the registry's lock, so it must not block; it copies
    /// what it needs of the batch.
    fn commit(&mut self, batch: Batch<'_>) -> Commit;
}

/// The result of a commit, now or later.
pub enum Commit {
    /// Known at once.
    Done(Result<(), Lost>),
    /// Known later. [`super::Registry::run_commits`] polls it.
    Later(Pin<Box<dyn Future<Output = Result<(), Lost>> + Send>>),
    /// Takes microseconds as a rule. The thread that asks for it may make it, without the registry's lock.
    Brief(BriefCommit),
}

/// Makes a commit. It may block, as a rule for microseconds.
pub type BriefCommit = Box<dyn FnOnce() -> Result<(), Lost> + Send>;

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Brief(_) => f.write_str("Brief"),
        }
    }
}

/// A batch was not committed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lost {
    /// There is no room for it. A later batch may be committed.
    #[error("the disk is full")]
    NoSpace,
    /// Something else went wrong.
    #[error("{0}")]
    Failed(Arc<str>),
}

/// Keeps nothing: the state itself is all there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryJournal;

impl Journal for MemoryJournal {
    fn commit(&mut self, _: Batch<'_>) -> Commit {
        Commit::Done(Ok(()))
    }
}
