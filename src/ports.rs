//! What a door may ask of another room, as small traits that the composition root implements.

mod checks;
mod migration;
mod transport;

use std::{fmt, pin::Pin};

use crate::{
    api::{HealthReport, Ready, WatcherDraft, WatcherShape},
    model::Cursor,
};

pub use self::{
    checks::{Probed, Probing, Verdicts},
    migration::{
        CanaryWatch, CanaryWay, MigrationRefusal, Migrations, NoticeEntry, Notices, Stumble,
    },
    transport::{Connections, DirectAnswers, FlagError, Flagged, Transports},
};

/// A future behind a trait object.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Probes of instances.
pub trait Probes: fmt::Debug + Send + Sync {
    /// Probes every check of an instance now; the verdicts stand when it answers. None when the id is
    /// unknown.
    fn check_now<'a>(&'a self, id: &'a str) -> Boxed<'a, Option<HealthReport>>;

    /// What is known of an instance's health. None when the id is unknown.
    fn report(&self, id: &str) -> Option<HealthReport>;
}

/// Why a webhook was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WatcherError {
    /// There are as many as there may be.
    #[error("there are {max} webhooks, more are not allowed")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The URL points where events may not be sent to.
    #[error("{0}")]
    Url(String),
    /// The daemon is about to end.
    #[error("the daemon is stopping: ask again after its restart")]
    Stopping,
}

/// Webhooks.
pub trait Watchers: fmt::Debug + Send + Sync {
    /// Makes one, which is sent every event after `from`.
    ///
    /// # Errors
    /// There are too many, the URL is not allowed, or the daemon is stopping.
    fn add(&self, draft: WatcherDraft, from: Option<Cursor>) -> Result<WatcherShape, WatcherError>;

    /// All, in the order in which they were made.
    fn list(&self) -> Vec<WatcherShape>;

    /// One.
    fn find(&self, id: &str) -> Option<WatcherShape>;

    /// Removes one; false when the id is unknown.
    fn remove(&self, id: &str) -> bool;
}

/// Whether the daemon can do its work.
pub trait Readiness: fmt::Debug + Send + Sync {
    /// Each part that must be ready, and how it is.
    fn parts(&self) -> Vec<Ready>;
}

/// A list that the broker shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BrokerList {
    /// Who is connected.
    Connections,
    /// Their channels.
    Channels,
    /// Exchanges.
    Exchanges,
    /// Queues.
    Queues,
    /// Bindings.
    Bindings,
    /// Consumers.
    Consumers,
}

/// Which part of such a list is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokerPart {
    /// Only of this virtual host.
    pub vhost: Option<String>,
    /// Only what has this in its name; empty for all.
    pub name: String,
    /// The most items.
    pub limit: usize,
}

/// What the embedded broker shows of itself, as JSON, and what an operator may do to its queues. The broker's own threads
/// make it; whoever waits for it holds up nobody.
pub trait BrokerPages: fmt::Debug + Send + Sync {
    /// The broker in numbers.
    fn overview(&self) -> Boxed<'_, Vec<u8>>;

    /// `{"<list>":[…],"total_count":n}`, where `n` counts what the limit left off too.
    fn list(&self, list: BrokerList, part: BrokerPart) -> Boxed<'_, Vec<u8>>;

    /// One queue. None when there is no such queue.
    fn queue<'a>(&'a self, vhost: &'a str, name: &'a str) -> Boxed<'a, Option<Vec<u8>>>;

    /// The first messages that wait in a queue, `{"messages":[…]}`; they stay there. None when there is
    /// no such queue.
    fn messages<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        count: usize,
    ) -> Boxed<'a, Option<Vec<u8>>>;

    /// Drops the messages that wait in a queue: how many. None when there is no such queue.
    fn purge<'a>(&'a self, vhost: &'a str, name: &'a str) -> Boxed<'a, Option<usize>>;

    /// Deletes a queue: how many messages went with it. None when there is no such queue.
    fn delete<'a>(&'a self, vhost: &'a str, name: &'a str) -> Boxed<'a, Option<usize>>;
}
