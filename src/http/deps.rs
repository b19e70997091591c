//! The interface of HTTP to rooms that it does not import: small traits that the composition root implements.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{
    api::{
        HealthReport, LimitUse, MigrationDraft, MigrationRefusal, MigrationReport, OpenWatcher,
        PublishDraft, ReadyPart, Setting, TransportReport, WatcherAnswer, WatcherDraft,
    },
    broker::{
        auth::{UserEdit, UserRefused},
        definitions::{DefinitionFault, ImportReport},
        listing::Wanted,
        server::UserView,
    },
    catalog::Caller,
    model::{Cursor, FlagError, FlagState, Modes, Standing},
};

/// Health checks of instances.
pub trait Probes: fmt::Debug + Send + Sync {
    /// Runs every check of an instance now and records the verdicts before it answers. None when the id
    /// is unknown.
    fn check_now<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<HealthReport>>;

    /// Takes a client's report on a check of its instance. False when the instance has no such check, or one that the
    /// daemon makes itself.
    fn report_standing(&self, id: &str, check: &str, standing: Standing, text: &str) -> bool;

    /// The last results of an instance's checks. None when the id is unknown.
    fn report(&self, id: &str) -> Option<HealthReport>;
}

/// Why a webhook was refused, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WatcherError {
    /// There are as many as the limit allows.
    #[error("{0}")]
    Full(String),
    /// Requests to this URL are not allowed.
    #[error("{0}")]
    Url(String),
    /// `registry.memory_max` is reached, or the disk is full.
    #[error("{0}")]
    NoRoom(String),
    /// The daemon is stopping, or the change could not be stored.
    #[error("{0}")]
    Stopping(String),
}

/// Webhooks.
pub trait Watchers: fmt::Debug + Send + Sync {
    /// Adds a webhook, which is sent every event after `from` that its caller may read; without `from`, from now on.
    ///
    /// # Errors
    /// There are too many, the URL is not allowed, there is no memory for it, or the daemon is stopping.
    fn add(
        &self,
        caller: &Caller,
        draft: WatcherDraft,
        from: Option<Cursor>,
    ) -> BoxFuture<'_, Result<WatcherAnswer, WatcherError>>;

    /// All, oldest first.
    fn list(&self) -> Vec<WatcherAnswer>;

    /// One.
    fn find(&self, id: &str) -> Option<WatcherAnswer>;

    /// Removes one; false when the id is unknown.
    ///
    /// # Errors
    /// The disk is full, or the daemon is stopping.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, WatcherError>>;
}

/// Whether the daemon is ready.
pub trait Readiness: fmt::Debug + Send + Sync {
    /// Each part that must be ready, and its state.
    fn parts(&self) -> Vec<ReadyPart>;
}

/// What operators read about the daemon itself.
pub trait SystemParts: fmt::Debug + Send + Sync {
    /// How much is used of each limit that another room than HTTP has.
    fn limits(&self) -> Vec<LimitUse>;

    /// The callbacks of the program that embeds the daemon.
    fn callbacks(&self) -> Vec<OpenWatcher>;

    /// The configuration in effect, key by key; empty when a program that embeds the daemon made it.
    fn settings(&self) -> Arc<Vec<Setting>>;
}

/// Backups of what the daemon stores.
pub trait Snapshots: fmt::Debug + Send + Sync {
    /// Begins one: its pieces in order. An error ends it before it is whole.
    fn begin(&self) -> mpsc::Receiver<io::Result<Bytes>>;
}

/// The flag of the transport.
pub trait Transports: fmt::Debug + Send + Sync {
    /// The state of each channel and of the broker.
    fn report(&self) -> TransportReport;

    /// The flag now.
    fn flag(&self) -> FlagState;

    /// Changes the flag; answers within 5 s, after the broker has what the new modes need. With `only_if`
    /// it is changed only if that is the current version. Answers with the new version.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>>;
}

/// The migration from direct calls to the broker.
pub trait Migrations: fmt::Debug + Send + Sync {
    /// Its state.
    fn report(&self) -> MigrationReport;

    /// Starts what an operator asks for; does not wait for it.
    ///
    /// # Errors
    /// Says what prevents it; nothing was changed.
    fn ask(&self, draft: MigrationDraft) -> Result<(), MigrationRefusal>;
}

/// A list that the broker shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BrokerList {
    /// Client connections.
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

/// The users of the embedded broker, and definitions with them.
pub trait BrokerUsers: fmt::Debug + Send + Sync {
    /// Every user, by name.
    fn list(&self) -> Vec<UserView>;

    /// One user.
    fn find(&self, name: &str) -> Option<UserView>;

    /// Changes a user; whether it is new.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn edit<'a>(
        &'a self,
        name: &'a str,
        edit: UserEdit,
    ) -> BoxFuture<'a, Result<bool, UserRefused>>;

    /// Whether they survive a restart.
    fn are_kept(&self) -> bool;

    /// The topology and the users in RabbitMQ's format, with the hashes of their passwords.
    fn definitions(&self) -> BoxFuture<'_, Option<Vec<u8>>>;

    /// Declares what a file in that format defines, and makes its users; objects without a vhost belong to this one.
    ///
    /// # Errors
    /// Everything that prevents it; nothing was changed.
    fn import(
        &self,
        file: Bytes,
        vhost: Option<String>,
    ) -> BoxFuture<'_, Result<ImportReport, Vec<DefinitionFault>>>;
}

/// Why a message was not published, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// There is no such vhost.
    #[error("there is no vhost \"{0}\"")]
    Vhost(Box<str>),
    /// The broker or a queue refused it.
    #[error("{0}")]
    Refused(String),
    /// Publishers are blocked.
    #[error(
        "the broker's memory or disk is full, so publishers are blocked: consume or purge a queue first"
    )]
    Blocked,
}

/// The embedded broker's pages, as JSON, and what an operator may do to its queues.
pub trait BrokerPages: fmt::Debug + Send + Sync {
    /// Totals and rates of the broker.
    fn overview(&self) -> BoxFuture<'_, Vec<u8>>;

    /// `{"<list>":[…],"total_count":n}`; `n` also counts the items beyond the limit.
    fn list(&self, list: BrokerList, wanted: Wanted) -> BoxFuture<'_, Vec<u8>>;

    /// One queue. None when there is no such queue.
    fn queue<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// The first messages that wait in a queue, `{"messages":[…]}`, without removing them. None when there
    /// is no such queue.
    fn messages<'a>(
        &'a self,
        vhost: &'a str,
        name: &'a str,
        count: usize,
    ) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// Removes the messages that wait in a queue: how many. None when there is no such queue.
    fn purge<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>>;

    /// Publishes a message, and waits until every queue that it is routed to has it: false when there is none.
    ///
    /// # Errors
    /// Says why it was not published.
    fn publish(&self, draft: PublishDraft) -> BoxFuture<'_, Result<bool, PublishError>>;

    /// Deletes a queue: how many messages it had. None when there is no such queue.
    fn delete<'a>(&'a self, vhost: &'a str, name: &'a str) -> BoxFuture<'a, Option<usize>>;

    /// The topology in RabbitMQ's format, of one vhost or of all. None when there is no such vhost.
    fn definitions<'a>(&'a self, vhost: Option<&'a str>) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// Declares what a file in that format defines; objects without a vhost belong to this one.
    ///
    /// # Errors
    /// Everything that prevents it; nothing was declared.
    fn import(
        &self,
        file: Bytes,
        vhost: Option<String>,
    ) -> BoxFuture<'_, Result<ImportReport, Vec<DefinitionFault>>>;
}
