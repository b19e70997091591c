//! The table of contents: every path, and what answers it.

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use utoipa::Path;
use utoipa_axum::PathItemExt;

use super::{
    broker, discovery, gateway, migration, operations, overrides, probes, services, transport,
    webhooks,
};
use crate::http::{
    answer::{Refusal, json},
    serve::metrics::MetricsByPath,
    state::Shared,
    watch,
};

/// Every route, and the rows under which their requests are counted.
pub(in crate::http) fn router(shared: &Shared) -> (Router, MetricsByPath) {
    let mut router = Router::new();
    let mut rows = vec![("/openapi.json".to_owned(), None)];
    for row in table() {
        let time_max = (!row.waits).then_some(*shared.config.request_timeout);
        router = router.route(&row.path, row.endpoints);
        rows.push((row.path, time_max));
    }
    let openapi = get(|| std::future::ready(json(Bytes::from_static(DOCUMENT))));
    let router = router
        .route("/openapi.json", openapi)
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(shared.clone());
    (router, MetricsByPath::new(&shared.measures, rows))
}

/// The document of every route. A test makes it from the endpoints and compares: what makes it is
/// a megabyte of code that no daemon needs.
const DOCUMENT: &[u8] = include_bytes!("openapi.json");

/// One path of the table.
struct RouteRow {
    path: String,
    endpoints: MethodRouter<Shared>,
    /// It may take for as long as it likes.
    waits: bool,
    /// Its part of the document.
    #[cfg(test)]
    documented: fn() -> utoipa_axum::router::UtoipaMethodRouter<Shared>,
}

impl RouteRow {
    fn waits(self) -> Self {
        Self {
            waits: true,
            ..self
        }
    }
}

/// The row of endpoints that share a path, which is written where they are.
macro_rules! row {
    ($($room:ident::$endpoint:ident),+) => {
        utoipa_axum::paste! {{
            let [path, ..] = [$($room::[<__path_ $endpoint>]::path()),+];
            let mut endpoints = MethodRouter::new();
            $(for method in $room::[<__path_ $endpoint>]::methods() {
                endpoints = endpoints.on(method.to_method_filter(), $room::$endpoint);
            })+
            RouteRow {
                path,
                endpoints,
                waits: false,
                #[cfg(test)]
                documented: || utoipa_axum::routes!($($room::$endpoint),+),
            }
        }}
    };
}

fn table() -> Vec<RouteRow> {
    vec![
        row!(operations::health),
        row!(operations::ready),
        row!(operations::metrics),
        row!(operations::system_info),
        row!(operations::docs),
        row!(services::all),
        row!(services::register),
        row!(services::heartbeats),
        row!(discovery::discover).waits(),
        row!(discovery::healthy),
        row!(services::instance, services::patch, services::deregister),
        row!(services::heartbeat),
        row!(services::status),
        row!(overrides::set, overrides::lift),
        row!(probes::check),
        row!(probes::report),
        row!(webhooks::list, webhooks::add),
        row!(watch::watch).waits(),
        row!(watch::watch_socket).waits(),
        row!(watch::events).waits(),
        row!(gateway::list),
        row!(gateway::find, gateway::set, gateway::remove),
        row!(gateway::resolve),
        row!(gateway::config).waits(),
        row!(gateway::watch).waits(),
        row!(webhooks::find, webhooks::remove),
        row!(migration::migration, migration::ask),
        row!(transport::show, transport::set),
        row!(broker::overview),
        row!(broker::connections),
        row!(broker::channels),
        row!(broker::exchanges),
        row!(broker::queues),
        row!(broker::bindings),
        row!(broker::consumers),
        row!(broker::queue, broker::delete),
        row!(broker::messages, broker::purge),
    ]
}

async fn unknown_path(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    Refusal::new(404, format!("there is nothing at {path}")).into_response()
}

/// The framework adds Allow.
async fn wrong_method(State(_): State<Shared>, method: Method) -> Response {
    let detail = format!("{method} is not allowed here; the Allow header says what is");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED.as_u16(), detail).into_response()
}

#[cfg(test)]
mod tests;
