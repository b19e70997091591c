//! The interface of the migration to other rooms: small traits that the composition root implements.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::{
    api::TransportReport,
    model::{EventKind, FlagError, FlagState, Modes},
    registry::{Lost, Notices, Registry},
    telemetry::Metrics,
};

/// The parts of other rooms that the migration needs.
#[derive(Clone, Debug)]
pub struct Needs {
    /// For its clock and its epoch.
    pub registry: Registry,
    /// The flag.
    pub transports: Arc<dyn FlagControl>,
    /// How the canary reaches the registry.
    pub canary: Arc<dyn CanaryWay>,
    /// The longest time until an instance is probed for the first time.
    pub first_probe_within: Duration,
    /// The daemon's metrics, with the latencies that the guard judges.
    pub metrics: Metrics,
    /// Where its notices go.
    pub notices: Arc<Notices>,
    /// Where its state is kept.
    pub row: Arc<dyn MigrationRow>,
}

/// Keeps the state for the next run, as one row.
pub trait MigrationRow: fmt::Debug + Send + Sync {
    /// Replaces the row.
    ///
    /// # Errors
    /// Nothing was changed.
    fn save(&self, row: Vec<u8>) -> BoxFuture<'static, Result<(), Lost>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRow;

impl MigrationRow for NoRow {
    fn save(&self, _: Vec<u8>) -> BoxFuture<'static, Result<(), Lost>> {
        Box::pin(ready(Ok(())))
    }
}

/// The flag of the transport.
pub trait FlagControl: fmt::Debug + Send + Sync {
    /// The state of each channel and of the broker.
    fn report(&self) -> TransportReport;

    /// The flag now.
    fn flag(&self) -> FlagState;

    /// Wakes at every change of the modes.
    fn follow(&self) -> watch::Receiver<FlagState>;

    /// Changes the flag; answers within 5 s, after the broker has what the new modes need. With `only_if`
    /// it is changed only if that is the current version. Answers with the new version.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>>;

    /// Waits until the channels in mode direct no longer use the broker. Consumers are cancelled and drained,
    /// and the connection is closed if no channel needs it. False when that took longer than `max`.
    fn settled(&self, max: Duration) -> BoxFuture<'_, bool>;
}

/// Why a step failed, in words.
pub type StepError = String;

/// How the canary reaches the registry: for each channel the way that the flag says. The caller limits the
/// time of each step; after a dropped step, `clean` removes the instance.
pub trait CanaryWay: fmt::Debug + Send + Sync {
    /// Watches the canary's service from the next change on.
    ///
    /// # Errors
    /// Says why it can't be watched.
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, StepError>;

    /// Registers the canary.
    fn register(&self) -> BoxFuture<'_, Result<(), StepError>>;

    /// Waits until a probe has found it healthy.
    fn probe(&self) -> BoxFuture<'_, Result<(), StepError>>;

    /// Discovers it.
    fn discover(&self) -> BoxFuture<'_, Result<(), StepError>>;

    /// Deregisters it.
    fn deregister(&self) -> BoxFuture<'_, Result<(), StepError>>;

    /// Removes what an interrupted run has left in the registry.
    fn clean(&self);
}

/// The canary's watch of its service.
pub trait CanaryWatch: fmt::Debug + Send {
    /// The next change of the canary's service: its kind and its revision.
    fn next(&mut self) -> BoxFuture<'_, Result<(EventKind, u64), StepError>>;
}
