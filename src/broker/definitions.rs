//! A topology in the form of RabbitMQ's definitions file: written, and read into declarations that are checked as far
//! as they can be without looking at a vhost.

mod export;
mod fields;
mod ignored;
mod plan;
mod users;
mod values;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::{
    export::{DefinedBinding, DefinedExchange, DefinedQueue, DefinedVhost, Definitions},
    ignored::IgnoredDefinition,
    plan::{ImportPlan, PlannedDeclaration, PlannedPolicy, VhostPlan},
    users::{DefinedPermission, DefinedTopicPermission, DefinedUser, PlannedUser},
    values::table as table_of_json,
};

/// Why a definitions file is not imported.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DefinitionFault {
    /// Where, such as `queues[3].durable`; empty for the whole file.
    pub field: String,
    /// What is wrong there.
    pub message: String,
    /// Whether the file is right by itself, and something that exists differs from it.
    pub is_conflict: bool,
}

impl DefinitionFault {
    /// The file is wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            is_conflict: false,
        }
    }

    /// What exists differs from the file.
    pub fn conflict(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            is_conflict: true,
            ..Self::invalid(field, message)
        }
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerDefinitionCounts)]
pub struct DefinitionCounts {
    /// Exchanges.
    pub exchanges: u64,
    /// Queues.
    pub queues: u64,
    /// Bindings.
    pub bindings: u64,
    /// Users.
    pub users: u64,
}

impl DefinitionCounts {
    /// Adds those of another vhost.
    pub fn add(&mut self, other: Self) {
        self.exchanges += other.exchanges;
        self.queues += other.queues;
        self.bindings += other.bindings;
        self.users += other.users;
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BrokerImported)]
pub struct ImportReport {
    /// What was declared.
    pub made: DefinitionCounts,
    /// What existed already, as the file has it.
    pub present: DefinitionCounts,
    /// What the file has and was not imported.
    pub ignored: Vec<IgnoredDefinition>,
}

#[cfg(test)]
mod tests;
