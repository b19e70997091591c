//! The transport modes over HTTP: of each channel, with the state of the broker.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};

use super::extract::BodyBytes;
use crate::{
    api::{self, FlagDraft},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Invalid, TooLarge},
        state::AppState,
    },
    model::FlagError,
};

/// Attempts, while others change the modes too.
const ATTEMPTS: usize = 5;
/// About as long as a broker takes to start.
const UNREACHABLE_PAUSE_SECS: u16 = 10;

/// The mode of each channel, the state of both ways, and the broker.
#[utoipa::path(
    get, path = "/transport",
    responses((status = 200, body = api::TransportReport))
)]
pub(in crate::http) async fn show(State(shared): State<AppState>) -> Response {
    json(api::encode(&shared.transports.report()))
}

/// Changes the modes, of all channels by `mode` or of some by `channels`. Answers when the broker has what
/// the new modes need; if it can't be reached, nothing is changed.
#[utoipa::path(
    put, path = "/transport",
    request_body = FlagDraft,
    responses(
        (status = 200, body = api::TransportReport),
        (status = 409, description = "There is no broker, or transport.direct is off", body = api::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The broker can't be used; answered within 5 s; Retry-After", body = api::Problem, content_type = "application/problem+json"),
        TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn set(
    State(shared): State<AppState>,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = FlagDraft::read(&body)?;
    match turn(&shared, draft).await {
        Ok(_) => {
            let report = api::encode(&shared.transports.report());
            Ok(json(warnings.added_to(report)))
        }
        Err(error @ FlagError::Unreachable(_)) => {
            let refusal = HttpProblem::new(503, error.to_string());
            Ok(refusal.later(UNREACHABLE_PAUSE_SECS).into_response())
        }
        Err(error) => Err(HttpProblem::new(409, error.to_string())),
    }
}

/// Changes the channels of the draft, and keeps what others change meanwhile.
async fn turn(shared: &AppState, draft: FlagDraft) -> Result<u64, FlagError> {
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
