//! Who sends a command, as far as its rules depend on it.

use std::{fmt, sync::Arc};

use super::Refusal;
use crate::model::{Instance, Route};

/// What the sender of a command may do with an instance or a route that is registered. Asked while the command is decided, so
/// that no other command can come in between.
pub trait InstanceRights: fmt::Debug + Send + Sync {
    /// The identity that is kept as the owner of what it registers.
    fn owner(&self) -> Arc<str>;

    /// Whether it may renew the lease.
    ///
    /// # Errors
    /// Says that it may not, or that there is nothing for it to see.
    fn renew(&self, known: &Instance) -> Result<(), Refusal>;

    /// Whether it may change, replace or remove the instance.
    ///
    /// # Errors
    /// Says that it may not, or that there is nothing for it to see.
    fn change(&self, known: &Instance) -> Result<(), Refusal>;

    /// Whether it sees a route, so that it may change or remove it.
    fn sees_route(&self, known: &Route) -> bool;
}

/// Who sends a command.
#[derive(Clone, Debug, Default)]
pub struct CommandSender {
    /// The connection of the embedded broker that it came over.
    pub connection: Option<u64>,
    /// What it may do; none for one that may do everything.
    pub rights: Option<Arc<dyn InstanceRights>>,
}

impl From<Option<u64>> for CommandSender {
    fn from(connection: Option<u64>) -> Self {
        Self {
            connection,
            rights: None,
        }
    }
}
