//! Health checks of an instance: run now, and the last results.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use tokio::time::timeout;

use super::extract::{Name, caller};
use crate::{
    api::{self, Problem},
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::{Invalid, NotFound},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::{Instance, Lease},
    security::{Protected, Right},
};

/// Runs every check of an instance now and answers with the results, which count as verdicts.
#[utoipa::path(
    post, path = "/services/{service_id}/check",
    params(("service_id" = String, Path)),
    responses(
        (status = 200, body = api::HealthReport),
        (status = 503, description = "A check did not end within `http.request_timeout`; its result is not counted", body = Problem, content_type = "application/problem+json"),
        NotFound,
    )
)]
pub(in crate::http) async fn check(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    seen(&shared, &peer, id.as_str(), Right::Write)?;
    let max = shared.config.request_timeout;
    let checked = timeout(max.get(), shared.probes.check_now(id.as_str())).await;
    let report = checked.map_err(|_| given_up(max.get()))?;
    let report = report.ok_or_else(HttpProblem::unknown)?;
    Ok(json(api::encode(&report)))
}

/// Whether a client may see an instance and has a right on its service; what does not exist is found out later.
fn seen(shared: &AppState, peer: &HttpPeer, id: &str, right: Right) -> Result<(), HttpProblem> {
    let caller = caller(peer);
    if shared.catalog.restricted(&caller).is_none() {
        return Ok(());
    }
    let instance = shared.catalog.instance(&caller, id);
    let instance = instance.ok_or_else(HttpProblem::unknown)?;
    shared.require(peer, Protected::Service, instance.name().as_str(), right)
}

fn given_up(max: Duration) -> HttpProblem {
    let detail = format!(
        "the checks did not end within {} s (http.request_timeout) and were cancelled; scheduled checks \
         continue, GET /services/{{service_id}}/health has their results",
        max.as_secs_f64()
    );
    HttpProblem::new(503, detail)
}

/// Each check of an instance: its last results, latency, and since when its status has been the same.
#[utoipa::path(
    get, path = "/services/{service_id}/health",
    params(("service_id" = String, Path)),
    responses((status = 200, body = api::HealthReport), NotFound)
)]
pub(in crate::http) async fn report(
    State(shared): State<AppState>,
    peer: HttpPeer,
    id: Name,
) -> EndpointResult {
    seen(&shared, &peer, id.as_str(), Right::Read)?;
    let report = shared.probes.report(id.as_str());
    let report = report.ok_or_else(HttpProblem::unknown)?;
    Ok(json(api::encode(&report)))
}

/// How many instances are answered without a `limit`, and the most.
const INSTANCES_DEFAULT: usize = 200;
const INSTANCES_MAX: usize = 1000;

/// The leases of the instances of a service, and the last results of their checks, newest first.
#[utoipa::path(
    get, path = "/health/{service_name}",
    params(
        ("service_name" = String, Path),
        ("limit" = Option<usize>, Query, description = "The most instances, default 200, at most 1000; total_count counts all"),
    ),
    responses((status = 200, body = api::ServiceHealth), NotFound, Invalid)
)]
pub(in crate::http) async fn of_service(
    State(shared): State<AppState>,
    peer: HttpPeer,
    name: Name,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let unknown = || HttpProblem::new(404, "no instance of this service is registered");
    let mut limit = INSTANCES_DEFAULT;
    for (key, value) in api::pairs(query.as_deref().unwrap_or_default()) {
        if key == "limit" {
            let read = api::limit(&value);
            limit = read.map_err(|message| Problem::field("limit", message))?;
        }
    }
    // A service that is not seen is like one that does not exist.
    let seen = shared.sight(&peer).sees(name.as_str());
    let service = shared.registry.service(name.as_str()).filter(|_| seen);
    let view = service.ok_or_else(unknown)?.view();
    if view.instances.is_empty() {
        return Err(unknown());
    }
    let instances = view.instances.values().take(limit.min(INSTANCES_MAX));
    let health = api::ServiceHealth {
        service_name: name.as_str().to_owned(),
        instances: instances.map(|one| health_of(&shared, one)).collect(),
        total_count: view.instances.len(),
        timestamp: shared.now(),
    };
    Ok(json(api::encode(&health)))
}

fn health_of(shared: &AppState, one: &Instance) -> api::InstanceHealth {
    let last_heartbeat = shared.last_heartbeat(one);
    let runs = matches!(one.lease, Lease::Running | Lease::Held | Lease::Lost);
    let lease_left_ms = runs.then(|| {
        let gone = shared.now().0.saturating_sub(last_heartbeat.0);
        let ttl = u64::try_from(one.registration.ttl.as_millis()).unwrap_or(u64::MAX);
        ttl.saturating_sub(u64::try_from(gone).unwrap_or(0))
    });
    let report = shared.probes.report(one.id().as_str());
    api::InstanceHealth {
        service_id: one.id().clone(),
        status: one.status(),
        last_heartbeat,
        lease_left_ms,
        checks: report.map_or_else(Vec::new, |report| report.checks),
    }
}

#[cfg(test)]
mod tests;
