//! The list of routes of this door.

use axum::{
    Router,
    extract::Request,
    http::Method,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, put},
};

use super::{
    agent, agent_checks, agent_reads, answer::ConsulError, catalog, event, health, kv, monitor,
    session, state::ConsulState, status, txn,
};
use crate::http::serve::metrics::{MetricsByPath, RouteSpec};

/// The router of every route, and the metrics of its requests.
pub(super) fn router(state: &ConsulState) -> (Router, MetricsByPath) {
    let (mut router, mut specs) = (Router::new(), Vec::new());
    for (path, endpoint) in table() {
        router = router.route(path, endpoint);
        specs.push(RouteSpec {
            path: path.replace("{*", "{"),
            // Reads may wait for as long as they say.
            time_max: None,
            parameters: Vec::new(),
            failures: None,
        });
    }
    let router = router
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(state.clone());
    (router, MetricsByPath::new(&state.serve.metrics, specs))
}

#[rustfmt::skip]
fn table() -> Vec<(&'static str, MethodRouter<ConsulState>)> {
    vec![
        ("/v1/agent/self", get(agent_reads::own)),
        ("/v1/agent/members", get(agent_reads::members)),
        ("/v1/agent/version", get(agent_reads::version)),
        ("/v1/agent/host", get(agent_reads::host)),
        ("/v1/agent/metrics", get(agent_reads::metrics)),
        ("/v1/agent/monitor", get(monitor::monitor)),
        ("/v1/agent/reload", put(agent_reads::reload)),
        ("/v1/agent/leave", put(agent_reads::leave)),
        ("/v1/agent/maintenance", put(agent::node_maintenance)),
        ("/v1/agent/services", get(agent_reads::services)),
        ("/v1/agent/service/{*id}", get(agent_reads::service)),
        ("/v1/agent/service/register", put(agent::register)),
        ("/v1/agent/service/deregister/{*id}", put(agent::deregister)),
        ("/v1/agent/service/maintenance/{*id}", put(agent::maintenance)),
        ("/v1/agent/checks", get(agent_reads::checks)),
        ("/v1/agent/check/register", put(agent_checks::register)),
        ("/v1/agent/check/deregister/{*id}", put(agent_checks::deregister)),
        ("/v1/agent/check/pass/{*id}", put(agent_checks::pass)),
        ("/v1/agent/check/warn/{*id}", put(agent_checks::warn)),
        ("/v1/agent/check/fail/{*id}", put(agent_checks::fail)),
        ("/v1/agent/check/update/{*id}", put(agent_checks::update)),
        ("/v1/agent/health/service/name/{*name}", get(agent_reads::health_by_name)),
        ("/v1/agent/health/service/id/{*id}", get(agent_reads::health_by_id)),
        ("/v1/catalog/register", put(catalog::register)),
        ("/v1/catalog/deregister", put(catalog::deregister)),
        ("/v1/catalog/datacenters", get(catalog::datacenters)),
        ("/v1/catalog/nodes", get(catalog::nodes)),
        ("/v1/catalog/services", get(catalog::services)),
        ("/v1/catalog/service/{name}", get(catalog::service)),
        ("/v1/catalog/connect/{name}", get(catalog::none)),
        ("/v1/catalog/node/{node}", get(catalog::node)),
        ("/v1/catalog/node-services/{node}", get(catalog::node_services)),
        ("/v1/health/service/{name}", get(health::service)),
        ("/v1/health/connect/{name}", get(catalog::none)),
        ("/v1/health/ingress/{name}", get(catalog::none)),
        ("/v1/health/checks/{name}", get(health::checks)),
        ("/v1/health/node/{node}", get(health::node)),
        ("/v1/health/state/{state}", get(health::by_state)),
        ("/v1/kv/", get(kv::kv).put(kv::kv).delete(kv::kv)),
        ("/v1/kv/{*key}", get(kv::kv).put(kv::kv).delete(kv::kv)),
        ("/v1/session/create", put(session::create)),
        ("/v1/session/destroy/{id}", put(session::destroy)),
        ("/v1/session/renew/{id}", put(session::renew)),
        ("/v1/session/info/{id}", get(session::info)),
        ("/v1/session/node/{node}", get(session::node)),
        ("/v1/session/list", get(session::list)),
        ("/v1/txn", put(txn::txn)),
        ("/v1/event/fire/", put(event::fire)),
        ("/v1/event/fire/{*name}", put(event::fire)),
        ("/v1/event/list", get(event::list)),
        ("/v1/status/leader", get(status::leader)),
        ("/v1/status/peers", get(status::peers)),
    ]
}

async fn unknown_path(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let text = format!("Invalid URL path: \"{path}\" is not an HTTP API endpoint");
    ConsulError::unknown(text).into_response()
}

/// The framework adds Allow.
async fn wrong_method(method: Method) -> Response {
    ConsulError::new(405, format!("method {method} not allowed")).into_response()
}
