//! What a door may ask of the migration, what it tells, and how its canary flies.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::watch;

use super::Boxed;
use crate::{
    api::{MigrationDraft, MigrationReport},
    model::EventKind,
};

/// Why the migration does not do what it is asked for: a sentence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct MigrationRefusal(pub String);

/// The migration from direct calls to the broker.
pub trait Migrations: fmt::Debug + Send + Sync {
    /// How it fares.
    fn report(&self) -> MigrationReport;

    /// Takes an operator's word; it is acted on at once, but not waited for.
    ///
    /// # Errors
    /// Says what stands in the way; nothing was changed.
    fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal>;
}

/// Something watchers are told that is no change of the registry.
#[derive(Clone, Debug)]
pub struct NoticeEntry {
    /// Counts up by one.
    pub number: u64,
    /// `migration.<step>`, which is its routing key too.
    pub event: &'static str,
    /// In the shape of an event.
    pub json: Bytes,
}

/// The last notices, for whoever passes them on. Each reader remembers the last number it has seen.
pub trait Notices: fmt::Debug + Send + Sync {
    /// The newest number; 0 when there was none.
    fn newest(&self) -> u64;

    /// Those after `seen` that are kept, oldest first.
    fn since(&self, seen: u64) -> Vec<Arc<NoticeEntry>>;

    /// Wakes at every notice.
    fn follow(&self) -> watch::Receiver<u64>;
}

/// A step that went wrong, in words.
pub type Stumble = String;

/// The way of the canary: through whichever way the flag says for each channel. Every step is given a
/// time limit by whoever calls; one that is dropped leaves nothing behind but what `clean` removes.
pub trait CanaryWay: fmt::Debug + Send + Sync {
    /// Begins to watch the canary's own service, from the next change on.
    ///
    /// # Errors
    /// Says why that can't be.
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, Stumble>;

    /// Registers the canary.
    fn register(&self) -> Boxed<'_, Result<(), Stumble>>;

    /// Waits until a probe has found it healthy.
    fn probe(&self) -> Boxed<'_, Result<(), Stumble>>;

    /// Discovers it.
    fn discover(&self) -> Boxed<'_, Result<(), Stumble>>;

    /// Deregisters it.
    fn deregister(&self) -> Boxed<'_, Result<(), Stumble>>;

    /// Removes what an interrupted run has left behind.
    fn clean(&self);
}

/// The canary's own watch.
pub trait CanaryWatch: fmt::Debug + Send {
    /// The next change of the canary's service: what, and its revision.
    fn next(&mut self) -> Boxed<'_, Result<(EventKind, u64), Stumble>>;
}
