//! Webhooks: add, list, remove.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::extract::{BodyBytes, Name, caller};
use crate::{
    api::{self, Problem, WatcherAnswer, WatcherDraft, WatcherList},
    catalog::Sight,
    http::{
        WatcherError,
        answer::{EndpointResult, HttpProblem, json, json_as},
        problems::{Invalid, NotFound, TooLarge},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::ServiceName,
    security::{Principal, Protected, Right},
};

/// A webhook is removed by a client, or when its receiver answers 410.
const FULL_PAUSE_SECS: u16 = 60;
/// About as long as a restart takes.
const STOPPING_PAUSE_SECS: u16 = 10;

/// Adds a webhook: it gets every event of the service from now on.
#[utoipa::path(
    post, path = "/watchers",
    request_body = WatcherDraft,
    responses(
        (status = 201, body = WatcherAnswer),
        (status = 429, description = "There are too many; Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The daemon is stopping; Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`registry.memory_max` is reached, or the disk is full", body = Problem, content_type = "application/problem+json"),
        TooLarge, Invalid,
    )
)]
pub(in crate::http) async fn add(
    State(shared): State<AppState>,
    peer: HttpPeer,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (draft, warnings) = WatcherDraft::read(&body)?;
    may_change(&shared, &peer, draft.service_name.as_ref())?;
    if let Some(name) = &draft.service_name {
        shared.require(&peer, Protected::Service, name.as_str(), Right::Read)?;
    }
    match shared.watchers.add(&caller(&peer), draft, None).await {
        Ok(watcher) => {
            let body = warnings.added_to(api::encode(&watcher));
            Ok(json_as(StatusCode::CREATED, body))
        }
        Err(error) => refused(error),
    }
}

fn refused(error: WatcherError) -> EndpointResult {
    match error {
        WatcherError::Full(text) => Ok(HttpProblem::new(429, text).later(FULL_PAUSE_SECS)),
        WatcherError::Stopping(text) => Ok(HttpProblem::new(503, text).later(STOPPING_PAUSE_SECS)),
        WatcherError::NoRoom(text) => Err(HttpProblem::new(507, text)),
        WatcherError::Url(message) => Err(Problem::field("callback_url", message).into()),
    }
}

/// Every webhook.
#[utoipa::path(
    get, path = "/watchers",
    responses((status = 200, body = WatcherList))
)]
pub(in crate::http) async fn list(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let (mut watchers, sight) = (shared.watchers.list(), shared.sight(&peer));
    watchers.retain(|one| is_seen(&sight, one));
    let watchers: Vec<_> = watchers
        .into_iter()
        .map(|one| shown(&shared, &peer, one))
        .collect();
    json(api::encode(&WatcherList {
        total_count: watchers.len(),
        watchers,
    }))
}

/// One webhook.
#[utoipa::path(
    get, path = "/watchers/{id}",
    params(("id" = String, Path)),
    responses((status = 200, body = WatcherAnswer), NotFound)
)]
pub(in crate::http) async fn find(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let watcher = found(&shared, &peer, id.as_str())?;
    Ok(json(api::encode(&shown(&shared, &peer, watcher))))
}

/// Removes a webhook.
#[utoipa::path(
    delete, path = "/watchers/{id}",
    params(("id" = String, Path)),
    responses(
        (status = 204),
        (status = 503, description = "The daemon is stopping; Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The disk is full; nothing was removed", body = Problem, content_type = "application/problem+json"),
        NotFound,
    )
)]
pub(in crate::http) async fn remove(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let watcher = found(&shared, &peer, id.as_str())?;
    may_change(&shared, &peer, watcher.service_name.as_ref())?;
    match shared.watchers.remove(id.as_str()).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(false) => Err(unknown()),
        Err(error) => refused(error),
    }
}

/// A webhook names its service, so both must be seen.
fn is_seen(sight: &Sight, watcher: &WatcherAnswer) -> bool {
    let service = watcher.service_name.as_ref().map(ServiceName::as_str);
    sight.sees_watcher(service) && service.is_none_or(|name| sight.sees(name))
}

/// A webhook as a client may see it: the URL of another identity's one without its query, which may hold secrets.
fn shown(shared: &AppState, peer: &HttpPeer, mut watcher: WatcherAnswer) -> WatcherAnswer {
    let caller = caller(peer);
    let is_own = |principal: &Principal| {
        watcher.owner.as_deref() == Some(&**principal.name())
            && watcher.owner_made == principal.made()
    };
    if !shared.catalog.restricted(&caller).is_none_or(is_own) {
        let url = watcher.callback_url.split(['?', '#']).next();
        watcher.callback_url = url.unwrap_or_default().into();
    }
    watcher
}

/// A webhook that a client may see.
fn found(shared: &AppState, peer: &HttpPeer, id: &str) -> Result<WatcherAnswer, HttpProblem> {
    let watcher = shared.watchers.find(id);
    let seen = watcher.filter(|one| is_seen(&shared.sight(peer), one));
    seen.ok_or_else(unknown)
}

fn may_change(
    shared: &AppState,
    peer: &HttpPeer,
    service: Option<&ServiceName>,
) -> Result<(), HttpProblem> {
    let name = service.map_or("*", ServiceName::as_str);
    shared.require(peer, Protected::Watcher, name, Right::Write)
}

fn unknown() -> HttpProblem {
    HttpProblem::new(404, "Watcher not found")
}
