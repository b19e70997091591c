//! Registration, heartbeats, and reads of one or all instances.

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use bytes::Bytes;
use tokio::time::Instant;

use super::extract::{BodyBytes, Name, caller};
use crate::{
    api::{self, BatchHeartbeat, Problem, StatusAnswer, Warnings},
    catalog::{self, Caller, Deregister, PatchInstance, Register},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Conflict, Invalid, NotFound, TooLarge},
        serve::connection::HttpPeer,
        state::AppState,
        watch::{SnapshotPieces, sent_in_pieces},
    },
    model::{Instance, Timestamp},
    registry::Snapshot,
};

/// A list of more instances is encoded while it is sent, and is never in memory as a whole.
const AT_ONCE_MAX: usize = 1000;
/// The same for one of more bytes.
const AT_ONCE_BYTES_MAX: usize = 1 << 20;

/// Registers an instance, or renews and updates its registration.
#[utoipa::path(
    post, path = "/services/register",
    params(("incarnation" = Option<u64>, Query, description = "The incarnation of the last registration; any other is refused")),
    request_body = api::RegistrationDraft,
    responses(
        (status = 200, body = api::RegisteredJson<'static>),
        (status = 409, description = "Another incarnation is registered", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Names every wrong field", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are too many instances", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "`registry.memory_max` is reached", body = Problem, content_type = "application/problem+json"),
        TooLarge,
    )
)]
pub(in crate::http) async fn register(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    register_from(&shared, &caller(&peer), query.as_deref(), &body).await
}

/// Removes an instance.
#[utoipa::path(
    delete, path = "/services/{service_id}",
    params(
        ("service_id" = String, Path),
        ("incarnation" = Option<u64>, Query, description = "Any other than the current one is refused"),
    ),
    responses(
        (status = 200, body = api::Done<'static>),
        (status = 422, description = "The incarnation is not a number", body = Problem, content_type = "application/problem+json"),
        NotFound, Conflict,
    )
)]
pub(in crate::http) async fn deregister(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let incarnation = incarnation(query.as_deref())?;
    let command = Deregister {
        service_id: id.as_str().into(),
        incarnation,
    };
    let caller = caller(&peer);
    let instance = shared.catalog.write(&caller, command).await?;
    catalog::log_deregistered(&caller, &instance);
    let message = "Service deregistered successfully";
    Ok(json(api::done(message, id.as_str(), shared.now())))
}

/// One instance, with an exact last_heartbeat.
#[utoipa::path(
    get, path = "/services/{service_id}",
    params(("service_id" = String, Path)),
    responses((status = 200, body = api::InstanceJson), NotFound)
)]
pub(in crate::http) async fn instance(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let instance = shared.catalog.instance(&caller(&peer), id.as_str());
    let instance = instance.ok_or_else(HttpProblem::unknown)?;
    Ok(shared.instance(&instance))
}

/// Changes metadata (RFC 7396: null removes a key), tags or weight of an instance.
#[utoipa::path(
    patch, path = "/services/{service_id}",
    params(("service_id" = String, Path)),
    request_body(content = api::PatchRequest, content_type = "application/merge-patch+json"),
    responses((status = 200, body = api::InstanceJson), NotFound, TooLarge, Invalid)
)]
pub(in crate::http) async fn patch(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (patch, warnings) = api::patch(id.as_str(), &body, &shared.defaults)?;
    let service_id = id.as_str().into();
    let command = PatchInstance { service_id, patch };
    let instance = shared.catalog.write(&caller(&peer), command).await?;
    Ok(shared.changed(&instance, &warnings))
}

/// Renews the lease of an instance. A 404 means: register again.
#[utoipa::path(
    post, path = "/services/{service_id}/heartbeat",
    params(
        ("service_id" = String, Path),
        ("incarnation" = Option<u64>, Query, description = "Any other than the current one is refused"),
    ),
    responses(
        (status = 200, body = api::Done<'static>),
        (status = 422, description = "The incarnation is not a number", body = Problem, content_type = "application/problem+json"),
        NotFound, Conflict,
    )
)]
pub(in crate::http) async fn heartbeat(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    heartbeat_of(&shared, &caller(&peer), id.as_str(), query.as_deref()).await
}

/// Renews many leases at once, with a result for each id.
#[utoipa::path(
    post, path = "/services/heartbeat",
    request_body = BatchHeartbeat,
    responses((status = 200, body = api::BatchAnswer<'static>), TooLarge, Invalid)
)]
pub(in crate::http) async fn heartbeats(
    State(shared): State<AppState>,
    peer: HttpPeer,
    BodyBytes(body): BodyBytes,
) -> EndpointResult {
    let (batch, warnings) = BatchHeartbeat::read(&body)?;
    let mut verdicts = Vec::with_capacity(batch.service_ids.len());
    for id in &batch.service_ids {
        let verdict = shared.catalog.heartbeat(&caller(&peer), id, None).await;
        let verdict = verdict.map(drop).map_err(|error| error.to_string());
        verdicts.push((id.as_str(), verdict));
    }
    let answer = api::batch_verdicts(verdicts.into_iter(), shared.now());
    Ok(json(warnings.added_to(answer)))
}

/// The effective status of an instance.
#[utoipa::path(
    get, path = "/services/{service_id}/status",
    params(("service_id" = String, Path)),
    responses((status = 200, body = StatusAnswer<'static>), NotFound)
)]
pub(in crate::http) async fn status(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    let instance = shared.catalog.instance(&caller(&peer), id.as_str());
    let instance = instance.ok_or_else(HttpProblem::unknown)?;
    Ok(json(api::encode(&StatusAnswer {
        service_id: instance.id().as_str(),
        status: instance.status(),
        reason: instance.reason.as_deref(),
        timestamp: shared.now(),
    })))
}

/// Whether a list may be encoded at once.
fn is_small(snapshot: &Snapshot) -> bool {
    let views = || snapshot.services.iter().map(|(_, view)| view);
    if views().map(|view| view.instances.len()).sum::<usize>() > AT_ONCE_MAX {
        return false;
    }
    let instances = views().flat_map(|view| view.instances.values());
    instances.map(|one| one.bytes).sum::<usize>() <= AT_ONCE_BYTES_MAX
}

/// Every instance, by service.
#[utoipa::path(
    get, path = "/services",
    responses((status = 200, body = api::ServicesJson))
)]
pub(in crate::http) async fn all(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let snapshot = shared.sight(&peer).of(shared.registry.snapshot());
    if !is_small(&snapshot) {
        let pieces = SnapshotPieces::services_alone(snapshot);
        return sent_in_pieces(&shared, Bytes::new(), pieces, b"");
    }
    let mut body = Vec::with_capacity(4096);
    let last_heartbeat = |one: &Instance| shared.last_heartbeat(one);
    SnapshotPieces::services_alone(snapshot).fill(&mut body, usize::MAX, last_heartbeat);
    json(body)
}

/// Registers what a body says.
pub(in crate::http) async fn register_from(
    shared: &AppState,
    caller: &Caller,
    query: Option<&str>,
    body: &[u8],
) -> EndpointResult {
    let began = Instant::now();
    let parsed = api::registration(body, &shared.defaults);
    let (incarnation, parsed) = match (incarnation(query), parsed) {
        (Ok(incarnation), Ok(parsed)) => (incarnation, parsed),
        (Err(query), Err(body)) => return Err(query.and(body).into()),
        (Err(wrong), _) | (_, Err(wrong)) => return Err(wrong.into()),
    };
    let command = Register {
        registration: parsed.registration,
        incarnation,
    };
    let registered = shared.catalog.write(caller, command).await?;
    catalog::log_registered(caller, &registered);
    let answer = api::registered(&registered.instance, shared.now(), &parsed.warnings);
    shared.measures.registered(began.elapsed());
    Ok(json(answer))
}

/// Renews a lease.
pub(in crate::http) async fn heartbeat_of(
    shared: &AppState,
    caller: &Caller,
    id: &str,
    query: Option<&str>,
) -> EndpointResult {
    let began = Instant::now();
    let incarnation = incarnation(query)?;
    let recorded = shared.catalog.heartbeat(caller, id, incarnation).await?;
    let answer = api::done("Heartbeat received", id, recorded);
    shared.measures.heartbeat(began.elapsed());
    Ok(json(answer))
}

impl AppState {
    /// An instance, with an exact time of its last heartbeat.
    pub(in crate::http) fn instance(&self, instance: &Instance) -> Response {
        json(self.encoded(instance))
    }

    /// An instance that was changed, with a warning for each field that was ignored.
    pub(in crate::http) fn changed(&self, instance: &Instance, warnings: &Warnings) -> Response {
        json(warnings.added_to(self.encoded(instance)))
    }

    fn encoded(&self, instance: &Instance) -> Vec<u8> {
        let mut body = Vec::with_capacity(1024);
        let last: Timestamp = self.last_heartbeat(instance);
        api::instance(&mut body, instance, last);
        body
    }
}

/// The `incarnation` of a query.
fn incarnation(query: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(query) = query else {
        return Ok(None);
    };
    let mut pairs = api::pairs(query);
    let Some((_, value)) = pairs.find(|(key, _)| key == "incarnation") else {
        return Ok(None);
    };
    let wrong = || {
        let message = format!("must be a whole number, not \"{value}\"");
        Problem::field("incarnation", message)
    };
    value.trim().parse().map(Some).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
