//! Liveness, readiness, metrics, and the daemon's own numbers.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    api::{self, Alive, ReadyAnswer, SystemInfo},
    http::{
        answer::{json, json_as},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::CANARY,
    security::{Protected, Right},
};

const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Liveness: the daemon answers.
#[utoipa::path(
    get, path = "/health",
    responses((status = 200, body = Alive))
)]
pub(in crate::http) async fn health(State(shared): State<AppState>) -> Response {
    json(api::encode(&Alive::at(shared.now())))
}

/// Readiness of the daemon, and of each of its parts for those who may read the system.
#[utoipa::path(
    get, path = "/ready",
    responses(
        (status = 200, body = ReadyAnswer),
        (status = 503, description = "A part is not ready", body = ReadyAnswer),
    )
)]
pub(in crate::http) async fn ready(State(shared): State<AppState>, peer: HttpPeer) -> Response {
    let mut answer = ReadyAnswer::new(shared.readiness.parts(), shared.now());
    if shared
        .require(&peer, Protected::System, "", Right::Read)
        .is_err()
    {
        answer.checks.clear();
    }
    let body = api::encode(&answer);
    if answer.is_ready() {
        json(body)
    } else {
        json_as(StatusCode::SERVICE_UNAVAILABLE, body)
    }
}

/// Counts of the registry, and its state.
#[utoipa::path(
    get, path = "/system/info",
    responses((status = 200, body = SystemInfo))
)]
pub(in crate::http) async fn system_info(
    State(shared): State<AppState>,
    peer: HttpPeer,
) -> Response {
    let (registry, sight) = (&shared.registry, shared.sight(&peer));
    let counts = registry.counts();
    let services = registry.services();
    // The canary is not counted, nor is what the caller does not see.
    let is_counted = |name: &str| name != CANARY && sight.sees(name);
    let (mut own, mut own_healthy) = (0, 0);
    let hidden = services
        .iter()
        .filter(|one| !is_counted(one.name().as_str()));
    for view in hidden.map(|service| service.view()) {
        own += view.instances.len();
        own_healthy += view.healthy().len();
    }
    let names = services.iter().map(|service| service.name().clone());
    let names: Vec<_> = names.filter(|name| is_counted(name.as_str())).collect();
    let mut guarded_services = registry.guarded();
    guarded_services.retain(|name| sight.sees(name.as_str()));
    let routes = match sight.is_whole() {
        true => counts.routes,
        false => sight.routes(&registry.routes()).list.len(),
    };
    let info = SystemInfo {
        total_instances: counts.instances.saturating_sub(own),
        healthy_instances: counts.healthy.saturating_sub(own_healthy),
        unique_services: names.len(),
        service_names: names,
        running: true,
        health_check_interval: api::seconds(shared.defaults.interval),
        guarded_services,
        epoch: registry.epoch(),
        revision: registry.newest(),
        routes,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: shared.started.elapsed().as_secs(),
        timestamp: shared.now(),
    };
    json(api::encode(&info))
}

/// Every metric, in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics",
    responses((status = 200, content_type = "text/plain; version=0.0.4; charset=utf-8", body = String))
)]
pub(in crate::http) async fn metrics(State(shared): State<AppState>) -> Response {
    let mut response = shared.metrics.page().await.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, METRICS);
    response
}

/// A page to read and try the API.
#[utoipa::path(
    get, path = "/docs",
    responses((status = 200, content_type = "text/html", body = String))
)]
pub(in crate::http) async fn docs() -> Response {
    let mut response = include_str!("docs.html").into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HTML);
    response
}
