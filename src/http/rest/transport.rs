//! The flag over HTTP: which way each channel goes, and how it fares.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};

use super::extract::Text;
use crate::{
    api::{FlagDraft, schema},
    http::{
        answer::{Answer, Refusal, json},
        state::Shared,
    },
    model::FlagError,
};

/// How often it is tried while others change the flag too.
const ATTEMPTS: usize = 5;
/// About as long as a broker takes to start.
const UNREACHABLE_PAUSE_SECS: u16 = 10;

/// Which way each channel goes, how both ways fare, and the broker.
#[utoipa::path(
    get, path = "/transport", tag = "transport",
    responses((status = 200, body = schema::Transport))
)]
pub(in crate::http) async fn show(State(shared): State<Shared>) -> Response {
    json(shared.transports.report().to_json(shared.now()))
}

/// Changes the flag, for all channels by `mode` or for some by `channels`. Answered when what the new
/// modes need stands at the broker; where it can't be reached, nothing is changed.
#[utoipa::path(
    put, path = "/transport", tag = "transport",
    request_body = schema::TransportDraft,
    responses(
        (status = 200, body = schema::Transport),
        (status = 409, description = "There is no broker, or transport.direct is off", body = schema::Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than `http.body_max`", body = schema::Problem, content_type = "application/problem+json"),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker can't be used, within 5 s; Retry-After", body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn set(State(shared): State<Shared>, Text(body): Text) -> Answer {
    let (draft, warnings) = FlagDraft::read(&body)?;
    match turn(&shared, draft).await {
        Ok(_) => {
            let report = shared.transports.report().to_json(shared.now());
            Ok(json(warnings.told_in(report)))
        }
        Err(error @ FlagError::Unreachable(_)) => {
            let refusal = Refusal::new(503, error.to_string());
            Ok(refusal.later(UNREACHABLE_PAUSE_SECS).into_response())
        }
        Err(error) => Err(Refusal::new(409, error.to_string())),
    }
}

/// Changes what the draft names and leaves the rest as it is, whoever else changes that meanwhile.
async fn turn(shared: &Shared, draft: FlagDraft) -> Result<u64, FlagError> {
    for _ in 0..ATTEMPTS {
        let seen = shared.transports.flag();
        let modes = draft.applied_to(seen.modes);
        match shared.transports.set(modes, Some(seen.version)).await {
            Err(FlagError::Changed) => (),
            answer => return answer,
        }
    }
    Err(FlagError::Changed)
}

#[cfg(test)]
mod tests;
