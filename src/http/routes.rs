//! The table of contents: every path, and what answers it.

use std::{cell::RefCell, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    answer::{Refusal, json},
    broker, discovery, gateway,
    measure::Rows,
    migration, operations, overrides, probes, services,
    state::Shared,
    transport, watch, webhooks,
};

/// Every route, and the rows under which their requests are counted.
pub(super) fn router(shared: &Shared) -> (Router, Rows) {
    let rows = RefCell::default();
    let (router, document) = table(shared, &rows).split_for_parts();
    let document = Bytes::from(document.to_json().unwrap_or_default());
    let openapi = get(move || std::future::ready(json(document)));
    rows.borrow_mut().push((DOCUMENT.to_owned(), None));
    let router = router
        .route(DOCUMENT, openapi)
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .with_state(shared.clone());
    (router, Rows::new(&shared.measures, rows.into_inner()))
}

/// Where the document of every route is.
const DOCUMENT: &str = "/openapi.json";

type Templates = RefCell<Vec<(String, Option<Duration>)>>;

fn table(shared: &Shared, rows: &Templates) -> OpenApiRouter<Shared> {
    let timed = Table {
        rows,
        time_max: Some(shared.config.request_timeout),
    };
    let waiting = Table {
        rows,
        time_max: None,
    };
    OpenApiRouter::with_openapi(about())
        .routes(timed.row(routes!(operations::health)))
        .routes(timed.row(routes!(operations::ready)))
        .routes(timed.row(routes!(operations::metrics)))
        .routes(timed.row(routes!(operations::system_info)))
        .routes(timed.row(routes!(operations::docs)))
        .routes(timed.row(routes!(services::all)))
        .routes(timed.row(routes!(services::register)))
        .routes(timed.row(routes!(services::heartbeats)))
        .routes(waiting.row(routes!(discovery::discover)))
        .routes(timed.row(routes!(discovery::healthy)))
        .routes(timed.row(routes!(
            services::instance,
            services::patch,
            services::deregister
        )))
        .routes(timed.row(routes!(services::heartbeat)))
        .routes(timed.row(routes!(services::status)))
        .routes(timed.row(routes!(overrides::set, overrides::lift)))
        .routes(timed.row(routes!(probes::check)))
        .routes(timed.row(routes!(probes::report)))
        .routes(timed.row(routes!(webhooks::list, webhooks::add)))
        .routes(waiting.row(routes!(watch::watch)))
        .routes(waiting.row(routes!(watch::watch_socket)))
        .routes(waiting.row(routes!(watch::events)))
        .routes(timed.row(routes!(gateway::list)))
        .routes(timed.row(routes!(gateway::find, gateway::set, gateway::remove)))
        .routes(timed.row(routes!(gateway::resolve)))
        .routes(waiting.row(routes!(gateway::config)))
        .routes(waiting.row(routes!(gateway::watch)))
        .routes(timed.row(routes!(webhooks::find, webhooks::remove)))
        .routes(timed.row(routes!(migration::migration, migration::ask)))
        .routes(timed.row(routes!(transport::show, transport::set)))
        .routes(timed.row(routes!(broker::overview)))
        .routes(timed.row(routes!(broker::connections)))
        .routes(timed.row(routes!(broker::channels)))
        .routes(timed.row(routes!(broker::exchanges)))
        .routes(timed.row(routes!(broker::queues)))
        .routes(timed.row(routes!(broker::bindings)))
        .routes(timed.row(routes!(broker::consumers)))
        .routes(timed.row(routes!(broker::queue, broker::delete)))
        .routes(timed.row(routes!(broker::messages, broker::purge)))
}

/// Makes rows that are counted, and ended when they take longer than `time_max`.
struct Table<'a> {
    rows: &'a Templates,
    time_max: Option<Duration>,
}

impl Table<'_> {
    fn row(&self, row: UtoipaMethodRouter<Shared>) -> UtoipaMethodRouter<Shared> {
        let templates = row.1.paths.keys().cloned();
        let templates = templates.map(|template| (template, self.time_max));
        self.rows.borrow_mut().extend(templates);
        row
    }
}

fn about() -> OpenApi {
    let info = InfoBuilder::new()
        .title("musterd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()));
    OpenApiBuilder::new().info(info.build()).build()
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
