//! Health checks of an instance: run now, and the last results.

use std::time::Duration;

use axum::extract::State;
use tokio::time::timeout;

use super::extract::{Name, caller};
use crate::{
    api,
    http::{
        answer::{EndpointResult, HttpProblem, json},
        problems::NotFound,
        serve::connection::HttpPeer,
        state::AppState,
    },
    security::{Protected, Right},
};

/// Runs every check of an instance now and answers with the results, which count as verdicts.
#[utoipa::path(
    post, path = "/services/{service_id}/check",
    params(("service_id" = String, Path)),
    responses(
        (status = 200, body = api::HealthReport),
        (status = 503, description = "A check did not end within `http.request_timeout`; its result is not counted", body = api::Problem, content_type = "application/problem+json"),
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
