//! One message published by hand.

use axum::{extract::State, response::IntoResponse};

use crate::{
    api::{self, PublishAnswer, PublishDraft},
    http::{
        PublishError,
        answer::{EndpointResult, HttpProblem, json},
        problems::{Conflict, Invalid, NotFound, TooLarge},
        rest::extract::BodyBytes,
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::Right,
};

/// Publishes one message, and answers when every queue that it is routed to has it.
#[utoipa::path(
    post, path = "/broker/publish",
    request_body = api::PublishRequest,
    responses(
        (status = 200, body = PublishAnswer),
        (status = 503, description = "The broker is full, so publishers are blocked", body = api::Problem, content_type = "application/problem+json"),
        NotFound, Conflict, TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn publish(
    State(shared): State<AppState>,
    peer: HttpPeer,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = PublishDraft::read(&body)?;
    shared.require_broker(&peer, Some(&draft.vhost), Right::Write)?;
    let (exchange, key) = (draft.exchange.clone(), draft.routing_key.clone());
    let published = shared.pages()?.publish(draft).await;
    let routed = match published {
        Ok(routed) => routed,
        Err(error) => return refused(&error),
    };
    tracing::info!(
        exchange.name = &*exchange,
        routing_key = &*key,
        routed,
        "a message was published over HTTP"
    );
    let answer = api::encode(&PublishAnswer { routed });
    Ok(json(warnings.added_to(answer)))
}

fn refused(error: &PublishError) -> EndpointResult {
    let status = match error {
        PublishError::Vhost(_) => 404,
        PublishError::Refused(_) => 409,
        PublishError::Blocked => {
            return Ok(HttpProblem::new(503, error.to_string())
                .later(1)
                .into_response());
        }
    };
    Err(HttpProblem::new(status, error.to_string()))
}
