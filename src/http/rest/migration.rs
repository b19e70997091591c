//! The migration: its status, and an operator's requests.

use axum::{extract::State, response::Response};

use super::extract::BodyBytes;
use crate::{
    api::{self, MigrationDraft},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::Invalid,
        state::AppState,
    },
};

/// The status of the migration from direct delivery to the broker.
#[utoipa::path(
    get, path = "/migration",
    responses((status = 200, body = api::MigrationReport))
)]
pub(in crate::http) async fn migration(State(shared): State<AppState>) -> Response {
    json(api::encode(&shared.migration.report()))
}

/// Starts, advances, rolls back, pauses or resumes the migration; answers before that is done.
#[utoipa::path(
    post, path = "/migration",
    request_body = MigrationDraft,
    responses(
        (status = 200, body = api::MigrationReport),
        (status = 409, description = "Not possible now; the detail says why", body = api::Problem, content_type = "application/problem+json"),
        Invalid,
    )
)]
pub(in crate::http) async fn ask(
    State(shared): State<AppState>,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = MigrationDraft::read(&body)?;
    let taken = shared.migration.ask(draft);
    taken.map_err(|refusal| HttpProblem::new(409, refusal.to_string()))?;
    let report = api::encode(&shared.migration.report());
    Ok(json(warnings.added_to(report)))
}

#[cfg(test)]
mod tests;
