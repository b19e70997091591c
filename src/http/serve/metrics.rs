//! What is counted of each request, by the route it belongs to, and how long it may take.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};

use crate::telemetry::{Histogram, IntCounter, IntCounterVec, IntGauge, Latencies, Metrics};

/// The metrics of the door, each looked up once.
#[derive(Clone, Debug)]
pub(in crate::http) struct Measures {
    register: Histogram,
    discover: Histogram,
    pub(in crate::http) heartbeat: Histogram,
    pub(in crate::http) connections: IntGauge,
    pub(in crate::http) refused: IntCounter,
    requests: IntCounterVec,
    latencies: Arc<Latencies>,
}

impl Measures {
    pub(in crate::http) fn new(metrics: &Metrics) -> Self {
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
            latencies: Arc::clone(metrics.latencies()),
        }
    }

    /// A registration was answered.
    pub(in crate::http) fn registered(&self, took: Duration) {
        self.register.observe(took.as_secs_f64());
        self.latencies.register.observe(took);
    }

    /// A discovery request was answered.
    pub(in crate::http) fn discovered(&self, took: Duration) {
        self.discover.observe(took.as_secs_f64());
        self.latencies.discover.observe(took);
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
/// Where requests that fail are looked at by the migration's guard.
const DISCOVER: &str = "/services/discover/{service_name}";

/// One route: its counters, each of which comes to life with its first request, and its time.
#[derive(Debug)]
pub(in crate::http) struct RouteMetrics {
    template: Box<str>,
    /// None when it may wait for as long as it likes.
    pub(in crate::http) time_max: Option<Duration>,
    requests: IntCounterVec,
    /// Only of the route of discovery.
    failures: Option<Arc<Latencies>>,
    cells: [[OnceLock<IntCounter>; CODES.len()]; METHODS.len() + 1],
}

impl RouteMetrics {
    fn new(template: &str, time_max: Option<Duration>, measures: &Measures) -> Self {
        Self {
            template: template.into(),
            time_max,
            requests: measures.requests.clone(),
            failures: (template == DISCOVER).then(|| Arc::clone(&measures.latencies)),
            cells: Default::default(),
        }
    }

    /// Counts a request that was answered.
    pub(in crate::http) fn count(&self, method: Verb, status: StatusCode) {
        let code = usize::from(status.as_u16() / 100).clamp(1, CODES.len()) - 1;
        let cell = self.cells[method.0][code].get_or_init(|| {
            let method = METHODS.get(method.0).map_or("OTHER", Method::as_str);
            let labels = [&*self.template, method, CODES[code]];
            self.requests.with_label_values(&labels)
        });
        cell.inc();
        if let (true, Some(failures)) = (status.is_server_error(), &self.failures) {
            failures.discover_failed();
        }
    }
}

/// A method as counters know it: those nobody heard of are one.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Verb(usize);

impl From<&Method> for Verb {
    fn from(method: &Method) -> Self {
        let known = METHODS.iter().position(|known| known == method);
        Self(known.unwrap_or(METHODS.len()))
    }
}

/// Finds the row of a path as the router does: what is fixed before what is a parameter.
#[derive(Debug)]
pub(in crate::http) struct MetricsByPath {
    root: Node,
    /// The last one is for paths where nothing is.
    list: Vec<RouteMetrics>,
}

#[derive(Debug, Default)]
struct Node {
    fixed: Vec<(Box<str>, Self)>,
    parameter: Option<Box<Self>>,
    /// Its place in the list.
    row: Option<usize>,
}

impl MetricsByPath {
    /// Of templates such as `/services/{service_id}/status`.
    pub(in crate::http) fn new(
        measures: &Measures,
        templates: impl IntoIterator<Item = (String, Option<Duration>)>,
    ) -> Self {
        let (mut root, mut list) = (Node::default(), Vec::new());
        for (template, time_max) in templates {
            let mut node = &mut root;
            for segment in template.split('/').skip(1) {
                node = node.child(segment);
            }
            node.row = Some(list.len());
            list.push(RouteMetrics::new(&template, time_max, measures));
        }
        list.push(RouteMetrics::new("unknown", None, measures));
        Self { root, list }
    }

    pub(in crate::http) fn find(&self, path: &str) -> &RouteMetrics {
        self.at(self.place(path))
    }

    /// Where the row of a path is, for callers who ask for it often.
    pub(in crate::http) fn place(&self, path: &str) -> usize {
        let found = path.strip_prefix('/').and_then(|rest| self.root.find(rest));
        found.unwrap_or(self.list.len() - 1)
    }

    pub(in crate::http) fn at(&self, place: usize) -> &RouteMetrics {
        &self.list[place]
    }
}

impl Node {
    fn child(&mut self, segment: &str) -> &mut Self {
        if segment.starts_with('{') {
            return self.parameter.get_or_insert_default();
        }
        let known = self.fixed.iter().position(|(name, _)| **name == *segment);
        let at = known.unwrap_or_else(|| {
            self.fixed.push((segment.into(), Self::default()));
            self.fixed.len() - 1
        });
        &mut self.fixed[at].1
    }

    fn find(&self, path: &str) -> Option<usize> {
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let fixed = self.fixed.iter().find(|(name, _)| **name == *segment);
        let found = fixed.and_then(|(_, node)| node.end(rest));
        found.or_else(|| {
            let parameter = self.parameter.as_ref().filter(|_| !segment.is_empty());
            parameter.and_then(|node| node.end(rest))
        })
    }

    fn end(&self, rest: Option<&str>) -> Option<usize> {
        match rest {
            Some(rest) => self.find(rest),
            None => self.row,
        }
    }
}

#[cfg(test)]
mod tests;
