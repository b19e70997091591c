//! The topology in RabbitMQ's definitions format: exported and imported.

use crate::{
    api::{self, FieldError, Problem},
    broker::definitions::{DefinitionFault, Definitions, ImportReport},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Conflict, Invalid, NotFound, TooLarge},
        rest::extract::BodyBytes,
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::{Protected, Right},
};
use axum::extract::{RawQuery, State};

/// The vhost that is named in a query.
fn only(query: Option<&str>) -> Option<String> {
    let mut pairs = api::pairs(query.unwrap_or_default());
    let found = pairs.find(|(key, _)| key == "vhost");
    found.map(|(_, value)| value.into_owned())
}

/// Exchanges, queues, bindings and policies in the format of RabbitMQ's definitions files, sorted.
/// Without exclusive queues, and transient queues that the broker has named. Callers with write access to system get the
/// users that were made at run time too, with the hashes of their passwords.
#[utoipa::path(
    get, path = "/broker/definitions",
    params(("vhost" = Option<String>, Query, description = "Only of this virtual host, whose name is then left out")),
    responses((status = 200, body = Definitions), NotFound)
)]
pub(in crate::http) async fn export_definitions(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let only = only(query.as_deref());
    shared.require_broker(&peer, only.as_deref(), Right::Read)?;
    let exported = match (&shared.broker_users, &only) {
        (Some(users), None) if may_see_users(&shared, &peer) => users.definitions().await,
        _ => shared.pages()?.definitions(only.as_deref()).await,
    };
    Ok(json(exported.ok_or_else(|| {
        let vhost = only.unwrap_or_default();
        HttpProblem::new(404, format!("there is no vhost \"{vhost}\""))
    })?))
}

/// Declares what a definitions file has, all of it or, if anything is wrong, nothing.
/// What exists alike stays; what exists otherwise is a conflict. Users with their permissions are made or changed for callers
/// with write access to system. Parameters and everything else that is ignored are named in the answer.
#[utoipa::path(
    post, path = "/broker/definitions",
    params(("vhost" = Option<String>, Query, description = "The virtual host of objects that name none")),
    request_body = serde_json::Value,
    responses((status = 200, body = ImportReport), NotFound, Conflict, TooLarge, Invalid)
)]
pub(in crate::http) async fn import_definitions(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    // The vhost of the query is for objects that name none: a file may name any.
    shared.require_broker(&peer, None, Right::Write)?;
    let only = only(query.as_deref());
    let imported = match &shared.broker_users {
        Some(users) if may_see_users(&shared, &peer) => users.import(body, only).await,
        _ => shared.pages()?.import(body, only).await,
    };
    let report = imported.map_err(problem)?;
    let made = report.made;
    tracing::info!(
        "definitions were imported over HTTP: {} exchanges, {} queues, {} bindings and {} users are new or changed",
        made.exchanges,
        made.queues,
        made.bindings,
        made.users
    );
    Ok(json(api::encode(&report)))
}

/// Hashes of passwords, and users who may do more than the caller.
fn may_see_users(shared: &AppState, peer: &HttpPeer) -> bool {
    let allowed = shared.require(peer, Protected::System, "", Right::Write);
    allowed.is_ok()
}

/// Faults of the file are a 422. Without any, what exists is in the way: a 409.
fn problem(faults: Vec<DefinitionFault>) -> Problem {
    let is_conflict = faults.iter().all(|fault| fault.is_conflict);
    let errors = faults.into_iter().map(|fault| FieldError {
        field: match fault.field.is_empty() {
            true => "definitions".to_owned(),
            false => fault.field,
        },
        message: fault.message,
    });
    let errors = errors.collect();
    match is_conflict {
        true => Problem::conflict(errors),
        false => Problem::invalid(errors),
    }
}
