//! Metrics of connections and requests: a request by the route that it belongs to, and how long that route
//! may take.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::telemetry::{IntCounter, IntCounterVec, IntGauge, Latencies, Metrics};

/// The metrics of a server, each looked up once.
#[derive(Clone, Debug)]
pub(in crate::http) struct ServeMetrics {
    pub(super) connections: IntGauge,
    pub(super) refused: IntCounter,
    pub(super) held: IntGauge,
    pub(super) slow_closed: IntCounter,
    /// TLS handshakes by result.
    pub(super) handshakes: IntCounterVec,
    requests: IntCounterVec,
}

impl ServeMetrics {
    pub(in crate::http) fn new(metrics: &Metrics) -> Self {
        Self {
            connections: metrics.gauge("musterd_http_connections", "Open HTTP connections."),
            refused: metrics.counter(
                "musterd_http_connections_refused_total",
                "Connections refused because there were too many.",
            ),
            held: metrics.gauge(
                "musterd_http_held_bytes",
                "Bytes of large answers and of replaced versions that clients may still read.",
            ),
            slow_closed: metrics.counter(
                "musterd_http_slow_readers_closed_total",
                "Connections closed because too much was held for clients that read slowly.",
            ),
            handshakes: metrics.counters(
                "musterd_http_tls_handshakes_total",
                "TLS handshakes by result: http1, http2, failed.",
                &["result"],
            ),
            requests: metrics.counters(
                "musterd_http_requests_total",
                "Requests by route, method and class of code.",
                &["route", "method", "code"],
            ),
        }
    }

    /// Those of another server: its requests are counted together with ours, its connections nowhere.
    pub(super) fn beside(&self) -> Self {
        let unseen = Metrics::default();
        Self {
            connections: unseen.gauge("connections", "Open connections."),
            ..self.clone()
        }
    }
}

impl ServeMetrics {
    /// How many connections are open.
    pub(in crate::http) fn open_connections(&self) -> u64 {
        u64::try_from(self.connections.get()).unwrap_or(0)
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

/// The properties of a route that its metrics need.
#[derive(Debug)]
pub(in crate::http) struct RouteSpec {
    /// Such as `/services/{service_id}/status`.
    pub(in crate::http) path: String,
    /// None when it may wait for as long as its client likes.
    pub(in crate::http) time_max: Option<Duration>,
    /// The query parameters of each method; one that ends in a dot is a prefix.
    pub(in crate::http) parameters: Vec<(Method, &'static [&'static str])>,
    /// Where its failures are counted too.
    pub(in crate::http) failures: Option<Arc<Latencies>>,
}

/// One route: its counters, each of which is made with its first request, and its limits.
#[derive(Debug)]
pub(in crate::http) struct RouteMetrics {
    pub(in crate::http) spec: RouteSpec,
    requests: IntCounterVec,
    cells: [[OnceLock<IntCounter>; CODES.len()]; METHODS.len() + 1],
}

impl RouteMetrics {
    fn new(spec: RouteSpec, metrics: &ServeMetrics) -> Self {
        Self {
            spec,
            requests: metrics.requests.clone(),
            cells: Default::default(),
        }
    }

    /// The parameters of a query that this route does not know, as they were written.
    pub(super) fn unknown<'q>(&self, method: &Method, query: &'q str) -> Vec<&'q str> {
        let mut rows = self.spec.parameters.iter();
        let Some((_, known)) = rows.find(|(of, _)| of == method) else {
            return Vec::new();
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let names = pairs.map(|pair| pair.split('=').next().unwrap_or(pair));
        let mut unknown: Vec<_> = names.filter(|name| !is_known(known, name)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Counts a request that was answered.
    pub(super) fn count(&self, method: Verb, status: StatusCode) {
        let code = usize::from(status.as_u16() / 100).clamp(1, CODES.len()) - 1;
        let cell = self.cells[method.0][code].get_or_init(|| {
            let method = METHODS.get(method.0).map_or("OTHER", Method::as_str);
            let labels = [&*self.spec.path, method, CODES[code]];
            self.requests.with_label_values(&labels)
        });
        cell.inc();
        if let (true, Some(failures)) = (status.is_server_error(), &self.spec.failures) {
            failures.discover_failed();
        }
    }
}

/// A method as the label of a counter; those that are not known share one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verb(usize);

impl From<&Method> for Verb {
    fn from(method: &Method) -> Self {
        let known = METHODS.iter().position(|known| known == method);
        Self(known.unwrap_or(METHODS.len()))
    }
}

/// True when the name, decoded, is one of those known.
fn is_known(known: &[&str], name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    known.iter().any(|known| match known.strip_suffix('.') {
        Some(_) => name.starts_with(known),
        None => name == *known,
    })
}

/// Finds the metrics of a path as the router finds its route: fixed segments before parameters.
#[derive(Debug)]
pub(in crate::http) struct MetricsByPath {
    root: PathNode,
    /// The last one is for paths without a route.
    list: Vec<RouteMetrics>,
}

#[derive(Debug, Default)]
struct PathNode {
    fixed: Vec<(Box<str>, Self)>,
    parameter: Option<Box<Self>>,
    /// Its index in the list.
    route: Option<usize>,
}

impl MetricsByPath {
    pub(in crate::http) fn new(
        metrics: &ServeMetrics,
        routes: impl IntoIterator<Item = RouteSpec>,
    ) -> Self {
        let (mut root, mut list) = (PathNode::default(), Vec::new());
        for spec in routes {
            let mut node = &mut root;
            for segment in spec.path.split('/').skip(1) {
                node = node.child(segment);
            }
            node.route = Some(list.len());
            list.push(RouteMetrics::new(spec, metrics));
        }
        let unknown = RouteSpec {
            path: "unknown".to_owned(),
            time_max: None,
            parameters: Vec::new(),
            failures: None,
        };
        list.push(RouteMetrics::new(unknown, metrics));
        Self { root, list }
    }

    pub(in crate::http) fn find(&self, path: &str) -> &RouteMetrics {
        self.at(self.index(path))
    }

    /// The index of a path's metrics, for paths that are looked up often.
    pub(in crate::http) fn index(&self, path: &str) -> usize {
        let found = path.strip_prefix('/').and_then(|rest| self.root.find(rest));
        found.unwrap_or(self.list.len() - 1)
    }

    pub(in crate::http) fn at(&self, index: usize) -> &RouteMetrics {
        &self.list[index]
    }
}

impl PathNode {
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
            None => self.route,
        }
    }
}

#[cfg(test)]
mod tests;
