use axum::http::Method;

use super::{MetricsByPath, RouteSpec, ServeMetrics};
use crate::telemetry::Metrics;

fn spec(path: &str, parameters: Vec<(Method, &'static [&'static str])>) -> RouteSpec {
    RouteSpec {
        path: path.to_owned(),
        time_max: None,
        parameters,
        failures: None,
    }
}

#[test]
fn a_path_is_counted_where_the_router_sends_it() {
    let templates = [
        "/health",
        "/services",
        "/services/register",
        "/services/discover/{name}",
        "/services/{id}",
        "/services/{id}/status",
    ];
    let routes = MetricsByPath::new(
        &ServeMetrics::new(&Metrics::default()),
        templates.map(|template| spec(template, Vec::new())),
    );
    for (path, template) in [
        ("/health", "/health"),
        ("/services", "/services"),
        ("/services/register", "/services/register"),
        ("/services/a", "/services/{id}"),
        ("/services/discover", "/services/{id}"),
        ("/services/discover/a", "/services/discover/{name}"),
        ("/services/discover/status", "/services/discover/{name}"),
        ("/services/register/status", "/services/{id}/status"),
        ("/services/a%2Fb/status", "/services/{id}/status"),
        ("/services//status", "unknown"),
        ("/services/", "unknown"),
        ("/services/a/other", "unknown"),
        ("/", "unknown"),
        ("", "unknown"),
        ("*", "unknown"),
    ] {
        assert_eq!(routes.find(path).spec.path, template, "{path}");
    }
}

#[test]
fn a_parameter_is_known_by_its_method_and_name() {
    let parameters: Vec<(Method, &'static [&'static str])> =
        vec![(Method::GET, &["service", "metadata."]), (Method::PUT, &[])];
    let routes = MetricsByPath::new(
        &ServeMetrics::new(&Metrics::default()),
        [spec("/a", parameters)],
    );
    for (method, query, unknown) in [
        (Method::GET, "service=a&service=b&&metadata.x=1", &[][..]),
        (Method::GET, "ser%76ice=a", &[]),
        (Method::GET, "metadata=1", &["metadata"]),
        (Method::GET, "b&Service=1&a=2&b=3", &["Service", "a", "b"]),
        (Method::GET, "=1", &[""]),
        (Method::PUT, "service=a", &["service"]),
        (Method::POST, "service=a", &[]),
    ] {
        let found = routes.find("/a").unknown(&method, query);
        assert_eq!(found, unknown, "{method} {query}");
    }
}
