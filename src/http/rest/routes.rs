//! The list of routes: the router, the OpenAPI document, the labels of metrics and the known query
//! parameters come from it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use utoipa::{Path, openapi::HttpMethod};
use utoipa_axum::PathItemExt;

use super::{
    admission::{AccessNeed, RouteGuard, guard},
    broker, discovery, gateway, migration, operations, overrides, probes, prometheus, services,
    snapshot, system, tokens, transport, webhooks,
};
use crate::http::{
    answer::{HttpProblem, json},
    dashboard, eureka,
    serve::metrics::{MetricsByPath, RouteSpec},
    state::AppState,
    watch,
};

/// The route whose failures the guard of a migration counts.
const DISCOVER: &str = "/services/discover/{service_name}";

/// The router of every route, and the metrics of its requests.
pub(in crate::http) fn router(state: &AppState) -> (Router, MetricsByPath) {
    let mut router = Router::new();
    let mut specs = vec![RouteSpec {
        path: OPENAPI.to_owned(),
        time_max: None,
        parameters: vec![(Method::GET, &[])],
        failures: None,
    }];
    for row in table() {
        let endpoint = guarded(state, row.endpoint, row.access, row.waits);
        router = router.route(&row.path, endpoint);
        let parameters = (row.method, row.parameters);
        if let Some(spec) = specs.iter_mut().find(|spec| spec.path == row.path) {
            spec.parameters.push(parameters);
            continue;
        }
        let latencies = state.metrics.latencies();
        specs.push(RouteSpec {
            time_max: (!row.waits).then_some(*state.config.request_timeout),
            parameters: vec![parameters],
            failures: (row.path == DISCOVER).then(|| Arc::clone(latencies)),
            path: row.path,
        });
    }
    for route in eureka::routes() {
        let action = match route.method {
            Method::GET => Action::Read,
            _ => Action::Write,
        };
        let access = (action, ApiResource::Instance);
        router = router.route(&route.path, guarded(state, route.endpoint, access, false));
        if specs.iter().all(|spec| spec.path != route.path) {
            specs.push(RouteSpec {
                time_max: Some(*state.config.request_timeout),
                // Keys of metadata are parameters, so none is unknown.
                parameters: Vec::new(),
                failures: None,
                path: route.path,
            });
        }
    }
    let openapi = get(|| std::future::ready(json(Bytes::from_static(DOCUMENT))));
    let router = router
        .route(OPENAPI, openapi)
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(state.clone());
    (router, MetricsByPath::new(&state.serve.metrics, specs))
}

/// An endpoint for those who may use it: with authentication, the guard runs before it.
fn guarded(
    state: &AppState,
    endpoint: MethodRouter<AppState>,
    access: (Action, ApiResource),
    waits: bool,
) -> MethodRouter<AppState> {
    if !state.identities.is_on() {
        return endpoint;
    }
    let needs = AccessNeed::of(access);
    endpoint.route_layer(from_fn_with_state(RouteGuard { needs, waits }, guard))
}

/// The paths that need no identity; one that ends in "/" is the beginning of such paths, if it is not the root.
pub(super) fn open_paths() -> Vec<String> {
    let open = |row: &RouteRow| AccessNeed::of(row.access) == AccessNeed::Nothing;
    let paths = table().into_iter().filter(open).map(|row| row.path);
    let fixed = paths.map(|path| match path.split_once('{') {
        Some((begin, _)) => begin.to_owned(),
        None => path,
    });
    fixed.chain([OPENAPI.to_owned()]).collect()
}

/// Whether a path is one of those.
pub(super) fn is_open(open: &[String], path: &str) -> bool {
    let fits = |known: &String| {
        known == path || (known.len() > 1 && known.ends_with('/') && path.starts_with(&**known))
    };
    open.iter().any(fits)
}

/// Where the document is.
const OPENAPI: &str = "/openapi.json";

/// The OpenAPI document. A test generates and compares it: the generator would add a megabyte.
const DOCUMENT: &[u8] = include_bytes!("openapi.json");

/// The objects that a request reads or changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ApiResource {
    /// Liveness, readiness and documentation.
    Health,
    /// The daemon's numbers and metrics.
    System,
    /// Registrations, heartbeats, discovery.
    Instance,
    /// An operator's status in the place of the observed one.
    Override,
    /// Checks of instances.
    Check,
    /// Events of the registry.
    Event,
    /// Webhooks.
    Webhook,
    /// Gateway routes.
    Route,
    /// Transport modes.
    Transport,
    /// The migration between them.
    Migration,
    /// The embedded broker.
    Broker,
    /// Its users, who may do more than the caller.
    BrokerUser,
    /// Everything that is stored, secrets included.
    Backup,
    /// Tokens.
    Token,
    /// The caller's own identity.
    Own,
}

/// The access of a request to its resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Read,
    Write,
}

/// One operation of the API. Method and path are read from the endpoint's own attribute, as its part of
/// the document is.
#[derive(Debug)]
struct RouteRow {
    method: Method,
    path: String,
    endpoint: MethodRouter<AppState>,
    /// Its group in the document.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the document is made by a test")
    )]
    tag: &'static str,
    /// The permission that a caller needs.
    access: (Action, ApiResource),
    /// Query parameters; one that ends in a dot is a prefix.
    parameters: &'static [&'static str],
    /// It may take for as long as its client likes.
    waits: bool,
    #[cfg(test)]
    documented: fn() -> utoipa_axum::router::UtoipaMethodRouter<AppState>,
}

/// A row: `endpoint, tag, action resource, [query parameters]`, and `waits` where it may wait.
macro_rules! row {
    ($($rest:tt)+) => { row_of!([false] $($rest)+) };
}

/// A row that may wait.
macro_rules! waiting {
    ($($rest:tt)+) => { row_of!([true] $($rest)+) };
}

macro_rules! row_of {
    ([$waits:literal] $room:ident::$endpoint:ident, $tag:literal, $action:ident $resource:ident, [$($name:literal),*]) => {
        utoipa_axum::paste! {
            RouteRow {
                method: method_of(&$room::[<__path_ $endpoint>]::methods()),
                path: $room::[<__path_ $endpoint>]::path(),
                endpoint: $room::[<__path_ $endpoint>]::methods()
                    .into_iter()
                    .fold(MethodRouter::new(), |endpoint, method| {
                        endpoint.on(method.to_method_filter(), $room::$endpoint)
                    }),
                tag: $tag,
                access: (Action::$action, ApiResource::$resource),
                parameters: &[$($name),*],
                waits: $waits,
                #[cfg(test)]
                documented: || utoipa_axum::routes!($room::$endpoint),
            }
        }
    };
}

/// Each endpoint has one method.
fn method_of(methods: &[HttpMethod]) -> Method {
    match methods {
        [HttpMethod::Post] => Method::POST,
        [HttpMethod::Put] => Method::PUT,
        [HttpMethod::Patch] => Method::PATCH,
        [HttpMethod::Delete] => Method::DELETE,
        _ => Method::GET,
    }
}

/// Every route.
fn table() -> Vec<RouteRow> {
    let mut rows = registry_rows();
    rows.extend(daemon_rows());
    rows
}

/// The registry's routes, and the daemon's own pages.
#[rustfmt::skip]
fn registry_rows() -> Vec<RouteRow> {
    vec![
        row!(operations::health, "operations", Read Health, []),
        row!(operations::ready, "operations", Read Health, []),
        row!(operations::metrics, "operations", Read System, []),
        row!(operations::system_info, "operations", Read System, []),
        row!(system::limits, "operations", Read System, []),
        row!(system::settings, "operations", Read System, []),
        waiting!(snapshot::snapshot, "operations", Read Backup, []),
        row!(operations::docs, "operations", Read Health, []),
        row!(dashboard::page, "operations", Read Health, []),
        row!(dashboard::file, "operations", Read Health, []),
        row!(services::all, "services", Read Instance, []),
        row!(services::register, "services", Write Instance, ["incarnation"]),
        row!(services::heartbeats, "services", Write Instance, []),
        waiting!(discovery::discover, "discovery", Read Instance,
            ["healthy_only", "tag", "tags", "version", "zone", "metadata.", "limit", "index", "wait"]),
        row!(discovery::healthy, "discovery", Read Instance,
            ["policy", "key", "healthy_only", "tag", "tags", "version", "zone", "metadata."]),
        row!(prometheus::targets, "discovery", Read Instance, ["service", "tag", "zone", "health"]),
        row!(services::instance, "services", Read Instance, []),
        row!(services::patch, "services", Write Instance, []),
        row!(services::deregister, "services", Write Instance, ["incarnation"]),
        row!(services::heartbeat, "services", Write Instance, ["incarnation"]),
        row!(services::status, "services", Read Instance, []),
        row!(overrides::set, "operations", Write Override, []),
        row!(overrides::lift, "operations", Write Override, []),
        row!(probes::check, "health", Write Check, []),
        row!(probes::report, "health", Read Check, []),
        row!(probes::of_service, "health", Read Check, ["limit"]),
        row!(webhooks::list, "watchers", Read Webhook, []),
        row!(webhooks::add, "watchers", Write Webhook, []),
        row!(watch::streams, "watchers", Read System, []),
        waiting!(watch::watch, "watching", Read Event, ["service", "since", "canary", "view", "token", "ticket"]),
        waiting!(watch::watch_socket, "watching", Read Event, ["service", "since", "canary", "token", "ticket"]),
        waiting!(watch::events, "watching", Read Event, ["since", "service", "limit", "wait", "canary"]),
        row!(gateway::list, "gateway", Read Route, []),
        row!(gateway::find, "gateway", Read Route, []),
        row!(gateway::set, "gateway", Write Route, []),
        row!(gateway::remove, "gateway", Write Route, []),
        row!(gateway::resolve, "gateway", Read Route, ["path", "method"]),
        waiting!(gateway::config, "gateway", Read Route, ["index", "wait"]),
        waiting!(gateway::watch, "gateway", Read Route, ["since", "token", "ticket"]),
        row!(webhooks::find, "watchers", Read Webhook, []),
        row!(webhooks::remove, "watchers", Write Webhook, []),
    ]
}

/// The routes of the transport, the broker and the identities.
#[rustfmt::skip]
fn daemon_rows() -> Vec<RouteRow> {
    vec![
        row!(migration::migration, "operations", Read Migration, []),
        row!(migration::ask, "operations", Write Migration, []),
        row!(transport::show, "transport", Read Transport, []),
        row!(transport::set, "transport", Write Transport, []),
        row!(broker::overview, "broker", Read Broker, []),
        row!(broker::connections, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::channels, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::exchanges, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::queues, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::bindings, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::consumers, "broker", Read Broker, ["vhost", "name", "limit"]),
        row!(broker::queue, "broker", Read Broker, []),
        row!(broker::delete, "broker", Write Broker, []),
        row!(broker::messages, "broker", Read Broker, ["count"]),
        row!(broker::purge, "broker", Write Broker, []),
        row!(broker::publish, "broker", Write Broker, []),
        row!(broker::export_definitions, "broker", Read Broker, ["vhost"]),
        row!(broker::import_definitions, "broker", Write Broker, ["vhost"]),
        row!(broker::users, "broker", Read Broker, []),
        row!(broker::add_user, "broker", Write BrokerUser, []),
        row!(broker::user, "broker", Read Broker, []),
        row!(broker::change_user, "broker", Write BrokerUser, []),
        row!(broker::delete_user, "broker", Write BrokerUser, []),
        row!(broker::permit, "broker", Write BrokerUser, []),
        row!(broker::forbid, "broker", Write BrokerUser, []),
        row!(broker::permit_topics, "broker", Write BrokerUser, []),
        row!(broker::free_topics, "broker", Write BrokerUser, []),
        row!(tokens::list, "auth", Read Token, []),
        row!(tokens::create, "auth", Write Token, []),
        row!(tokens::revoke, "auth", Write Token, []),
        row!(tokens::rotate, "auth", Write Token, []),
        row!(tokens::whoami, "auth", Read Own, []),
        row!(tokens::ticket, "auth", Write Own, []),
    ]
}

async fn unknown_path(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    HttpProblem::new(404, format!("there is nothing at {path}")).into_response()
}

/// The framework adds Allow.
async fn wrong_method(State(_): State<AppState>, method: Method) -> Response {
    let detail = format!("{method} is not allowed here; the Allow header lists the methods");
    HttpProblem::new(StatusCode::METHOD_NOT_ALLOWED.as_u16(), detail).into_response()
}

/// Method and path of every operation.
#[cfg(test)]
pub(super) fn operations() -> Vec<(Method, String)> {
    let rows = table().into_iter();
    rows.map(|row| (row.method, row.path)).collect()
}

#[cfg(test)]
mod tests;
