//! Tokens, and the caller's own identity.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::extract::{BodyBytes, Name, caller};
use crate::{
    api::{
        self, Problem, RotateDraft, TicketAnswer, TokenAnswer, TokenCreated, TokenDraft, TokenList,
        WhoAmI,
    },
    catalog::Identity,
    http::{
        answer::{EndpointResult, HttpProblem, json, json_as},
        problems::{Conflict, Invalid, NotFound, TooLarge},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::Timestamp,
    security::{NewToken, Principal, Protected, Right, TokenInfo, TokenRefused, TokenSecret},
};

/// Every token that the caller may see, without secrets.
#[utoipa::path(
    get, path = "/auth/tokens",
    responses((status = 200, body = TokenList))
)]
pub(in crate::http) async fn list(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let seen = |one: &TokenInfo| {
        let allowed = shared.require(&peer, Protected::Token, &one.name, Right::Read);
        allowed.is_ok()
    };
    let tokens = shared.identities.list(shared.now()).into_iter();
    let tokens: Vec<_> = tokens.filter(seen).map(shown).collect();
    json(api::encode(&TokenList {
        total_count: tokens.len(),
        tokens,
    }))
}

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/auth/tokens",
    request_body = TokenDraft,
    responses(
        (status = 201, body = TokenCreated),
        (status = 403, description = "A policy is not one of the caller's own, one that denies is left out, or it ends later than the caller's token", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It was not stored, or there are too many", body = Problem, content_type = "application/problem+json"),
        Conflict, TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn create(
    State(shared): State<AppState>,
    peer: HttpPeer,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = TokenDraft::read(&body)?;
    shared.require(&peer, Protected::Token, &draft.name, Right::Write)?;
    let by = principal(&shared, &peer)?;
    let now = shared.now();
    let lasts = draft
        .expires_in
        .map(|lasts| i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX));
    let wanted = NewToken {
        name: draft.name,
        policies: draft.policies,
        expires: lasts.map(|lasts| Timestamp(now.0.saturating_add(lasts))),
    };
    let made = shared.identities.create(by, wanted, now).await;
    let (token, secret) = made.map_err(refused)?;
    tracing::info!("token \"{}\" is made {}", token.name, caller(&peer));
    let body = warnings.added_to(api::encode(&with_secret(&shared, token, &secret)));
    Ok(json_as(StatusCode::CREATED, body))
}

/// Removes a token: it is refused from now on, and its streams end.
#[utoipa::path(
    delete, path = "/auth/tokens/{name}",
    params(("name" = String, Path)),
    responses((status = 204), NotFound, Conflict)
)]
pub(in crate::http) async fn revoke(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
) -> EndpointResult {
    shared.require(&peer, Protected::Token, name.as_str(), Right::Write)?;
    let by = principal(&shared, &peer)?;
    let revoked = shared.identities.revoke(by, name.as_str()).await;
    revoked.map_err(refused)?;
    tracing::info!("token \"{}\" is revoked {}", name.as_str(), caller(&peer));
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Gives a token another secret; the one before stays valid for `overlap`, older ones end at once.
#[utoipa::path(
    post, path = "/auth/tokens/{name}/rotate",
    params(("name" = String, Path)),
    request_body = RotateDraft,
    responses((status = 200, body = TokenCreated), NotFound, Conflict, TooLarge, Invalid)
)]
pub(in crate::http) async fn rotate(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = RotateDraft::read(&body)?;
    shared.require(&peer, Protected::Token, name.as_str(), Right::Write)?;
    let by = principal(&shared, &peer)?;
    let (now, name) = (shared.now(), name.as_str());
    let rotated = shared.identities.rotate(by, name, draft.overlap, now).await;
    let (token, secret) = rotated.map_err(refused)?;
    tracing::info!("token \"{name}\" is rotated {}", caller(&peer));
    let body = api::encode(&with_secret(&shared, token, &secret));
    Ok(json(warnings.added_to(body)))
}

/// Who the caller is.
#[utoipa::path(
    get, path = "/auth/whoami",
    responses((status = 200, body = WhoAmI))
)]
pub(in crate::http) async fn whoami(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let principal = match &peer.identity {
        Identity::Of(principal) => Some(principal),
        Identity::Anonymous | Identity::Daemon => None,
    };
    let policies = principal.map(Principal::policies).unwrap_or_default();
    json(api::encode(&WhoAmI {
        authentication: shared.identities.is_on(),
        name: principal.map(|one| one.name().to_string()),
        policies: policies.iter().map(ToString::to_string).collect(),
    }))
}

/// A ticket of the caller, for one stream of a browser, which can send no header with it.
#[utoipa::path(
    post, path = "/auth/ticket",
    responses((status = 200, body = TicketAnswer), Conflict)
)]
pub(in crate::http) async fn ticket(
    State(shared): State<AppState>,
    peer: HttpPeer,
) -> EndpointResult {
    let by = principal(&shared, &peer)?;
    let issued = shared.identities.ticket(by, shared.now());
    let (ticket, lasts) = issued.map_err(refused)?;
    Ok(json(api::encode(&TicketAnswer {
        ticket: ticket.expose().to_owned(),
        expires_in: lasts.as_secs(),
    })))
}

/// The identity of a caller; without authentication there is none.
fn principal<'a>(shared: &AppState, peer: &'a HttpPeer) -> Result<&'a Principal, HttpProblem> {
    match &peer.identity {
        Identity::Of(principal) if shared.identities.is_on() => Ok(principal),
        _ => Err(refused(TokenRefused::Off)),
    }
}

fn with_secret(shared: &AppState, token: TokenInfo, secret: &TokenSecret) -> TokenCreated {
    TokenCreated {
        token: shown(token),
        secret: secret.expose().to_owned(),
        stored: shared.identities.are_kept(),
    }
}

fn shown(token: TokenInfo) -> TokenAnswer {
    TokenAnswer {
        name: token.name,
        policies: token.policies,
        source: token.source.as_str(),
        created_at: token.created,
        expires_at: token.expires,
        last_used_at: token.used,
        secrets: token.secrets,
    }
}

fn refused(refused: TokenRefused) -> HttpProblem {
    let text = refused.to_string();
    match refused {
        TokenRefused::Name | TokenRefused::Reserved => Problem::field("name", text).into(),
        TokenRefused::UnknownPolicy(_) => Problem::field("policies", text).into(),
        TokenRefused::Unknown => HttpProblem::new(404, text),
        TokenRefused::NotYours(_) | TokenRefused::Sheds(_) | TokenRefused::EndsLater(_) => {
            HttpProblem::new(403, text)
        }
        TokenRefused::Off
        | TokenRefused::Exists(_)
        | TokenRefused::Expired(_)
        | TokenRefused::Configured(_) => HttpProblem::new(409, text),
        TokenRefused::Full(_) | TokenRefused::NotStored(_) | TokenRefused::NoRandom(_) => {
            HttpProblem::new(503, text)
        }
    }
}
