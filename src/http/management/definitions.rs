//! Definitions: exported, and imported as a whole or not at all.

use serde_json::Value;

use super::{
    answer::{ManagementAnswer, ManagementRefusal, done},
    ask::{Ask, UserTag},
};
use crate::{
    broker::definitions::{DefinitionFault, Definitions, ImportReport},
    http::answer::json as json_answer,
};

fn shown(definitions: Option<Definitions>) -> ManagementAnswer {
    let definitions = definitions.ok_or_else(ManagementRefusal::unknown)?;
    // Types of our own that hold text and numbers can always be written.
    Ok(json_answer(
        serde_json::to_vec(&definitions).unwrap_or_default(),
    ))
}

/// `GET /api/definitions`
pub(super) async fn export(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    shown(ask.state.broker().definitions_with_users().await)
}

/// `GET /api/definitions/{vhost}`
pub(super) async fn export_vhost(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let vhost = ask.vhost()?;
    shown(ask.state.broker().definitions(Some(vhost)).await)
}

fn imported(result: Result<ImportReport, Vec<DefinitionFault>>, by: &str) -> ManagementAnswer {
    match result {
        Ok(report) => {
            tracing::info!(
                "definitions are imported by user \"{by}\" over the management API: {} exchanges, {} queues and {} \
                 bindings are new, {} entries are ignored",
                report.made.exchanges,
                report.made.queues,
                report.made.bindings,
                report.ignored.len()
            );
            done()
        }
        Err(faults) => {
            let faults = faults.into_iter();
            let lines = faults.map(|fault| match fault.field.as_str() {
                "" => fault.message,
                field => format!("{field} {}", fault.message),
            });
            let reason: Value = lines.collect::<Vec<_>>().join("; ").into();
            Err(ManagementRefusal::bad(reason))
        }
    }
}

/// `POST /api/definitions`
pub(super) async fn import(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let result = ask.state.broker().import_with_users(ask.body(), None).await;
    imported(result, ask.user.name())
}

/// `POST /api/definitions/{vhost}`
pub(super) async fn import_vhost(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Administrator)?;
    let vhost = ask.vhost()?.to_owned();
    let result = ask.state.broker().import(ask.body(), Some(vhost)).await;
    imported(result, ask.user.name())
}
