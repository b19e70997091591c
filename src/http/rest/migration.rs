//! The migration: how it fares, and an operator's word.

use axum::{extract::State, response::Response};

use super::extract::Text;
use crate::{
    api::{MigrationDraft, schema},
    http::{
        answer::{Answer, Refusal, json},
        state::Shared,
    },
};

/// How the migration from direct calls to the broker fares.
#[utoipa::path(
    get, path = "/migration", tag = "operations",
    responses((status = 200, body = schema::Migration))
)]
pub(in crate::http) async fn migration(State(shared): State<Shared>) -> Response {
    json(shared.migration.report().to_json(shared.now()))
}

/// Start, advance, roll back, pause or resume the migration. It acts at once, and is not waited for.
#[utoipa::path(
    post, path = "/migration", tag = "operations",
    request_body = schema::MigrationDraft,
    responses(
        (status = 200, body = schema::Migration),
        (status = 409, description = "Something stands in the way", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn ask(State(shared): State<Shared>, Text(body): Text) -> Answer {
    let (draft, warnings) = MigrationDraft::read(&body)?;
    let taken = shared.migration.ask(draft);
    taken.map_err(|refusal| Refusal::new(409, refusal.to_string()))?;
    let report = shared.migration.report().to_json(shared.now());
    Ok(json(warnings.told_in(report)))
}

#[cfg(test)]
mod tests;
