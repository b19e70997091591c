//! What is counted and timed of each request, and how long a request may take.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::Route,
};
use futures_util::future::BoxFuture;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use tower::{Layer, Service};

use super::answer::Refusal;
use crate::telemetry::Metrics;

/// The metrics of the door, each looked up once.
#[derive(Clone, Debug)]
pub(super) struct Measures {
    pub(super) register: Histogram,
    pub(super) discover: Histogram,
    pub(super) heartbeat: Histogram,
    pub(super) connections: IntGauge,
    pub(super) refused: IntCounter,
    requests: IntCounterVec,
}

impl Measures {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let seconds = |name, what| metrics.seconds(name, what);
        Self {
            register: seconds("musterd_register_seconds", "Time to answer a registration."),
            discover: seconds("musterd_discover_seconds", "Time to answer a discovery."),
            heartbeat: seconds("musterd_heartbeat_seconds", "Time to answer a heartbeat."),
            connections: metrics.gauge("musterd_http_connections", "Open HTTP connections."),
            refused: metrics.counter(
                "musterd_http_connections_refused_total",
                "Connections refused because there were too many.",
            ),
            requests: metrics.counters(
                "musterd_http_requests_total",
                "Requests by route, method and class of code.",
                &["route", "method", "code"],
            ),
        }
    }

    /// A layer for the route with this template.
    pub(super) fn route(&self, template: &str, time_max: Option<Duration>) -> Measured {
        Measured {
            counters: Arc::new(Counters {
                requests: self.requests.clone(),
                template: template.into(),
                cells: Default::default(),
            }),
            time_max,
        }
    }
}

const METHODS: [Method; 6] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
];
const CODES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of one route; each comes to life with its first request.
#[derive(Debug)]
struct Counters {
    requests: IntCounterVec,
    template: Box<str>,
    cells: [[OnceLock<IntCounter>; CODES.len()]; METHODS.len() + 1],
}

impl Counters {
    fn count(&self, method: usize, status: StatusCode) {
        let code = usize::from(status.as_u16() / 100).clamp(1, CODES.len()) - 1;
        let cell = self.cells[method][code].get_or_init(|| {
            let method = METHODS.get(method).map_or("OTHER", Method::as_str);
            let labels = [&*self.template, method, CODES[code]];
            self.requests.with_label_values(&labels)
        });
        cell.inc();
    }
}

fn place(method: &Method) -> usize {
    let known = METHODS.iter().position(|known| known == method);
    known.unwrap_or(METHODS.len())
}

/// Counts the requests of a route, and ends those that take too long.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    counters: Arc<Counters>,
    time_max: Option<Duration>,
}

impl Layer<Route> for Measured {
    type Service = MeasuredRoute;

    fn layer(&self, route: Route) -> MeasuredRoute {
        MeasuredRoute {
            measured: self.clone(),
            route,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct MeasuredRoute {
    measured: Measured,
    route: Route,
}

impl Service<Request> for MeasuredRoute {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let method = place(request.method());
        let answered = self.route.call(request);
        let measured = self.measured.clone();
        Box::pin(async move {
            let response = match measured.time_max {
                None => answered.await?,
                Some(max) => match tokio::time::timeout(max, answered).await {
                    Ok(response) => response?,
                    Err(_) => late(max),
                },
            };
            measured.counters.count(method, response.status());
            Ok(response)
        })
    }
}

fn late(max: Duration) -> Response {
    let seconds = max.as_secs_f64();
    let detail = format!("the request took longer than {seconds} s (http.request_timeout)");
    Refusal::new(503, detail).into_response()
}
