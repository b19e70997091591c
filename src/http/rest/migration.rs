//! The migration: its status, and an operator's requests.

use axum::{extract::State, response::Response};

use super::extract::BodyBytes;
use crate::{
    api::{MigrationDraft, schema},
    http::{
        answer::{EndpointResult, Refusal, json},
        state::AppState,
    },
};

/// The status of the migration from direct delivery to the broker.
#[utoipa::path(
    get, path = "/migration",
    responses((status = 200, body = schema::Migration))
)]
pub(in crate::http) async fn migration(State(shared): State<AppState>) -> Response {
    json(shared.migration.report().to_json(shared.now()))
}

/// Starts, advances, rolls back, pauses or resumes the migration; answers before that is done.
#[utoipa::path(
    post, path = "/migration",
    request_body = schema::MigrationDraft,
    responses(
        (status = 200, body = schema::Migration),
        (status = 409, description = "Not possible now; the detail says why", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn ask(
    State(shared): State<AppState>,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = MigrationDraft::read(&body)?;
    let taken = shared.migration.ask(draft);
    taken.map_err(|refusal| Refusal::new(409, refusal.to_string()))?;
    let report = shared.migration.report().to_json(shared.now());
    Ok(json(warnings.told_in(report)))
}

#[cfg(test)]
mod tests;
