use super::{Measures, MetricsByPath};
use crate::telemetry::Metrics;

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
    let templates = templates.map(|template| (template.to_owned(), None));
    let rows = MetricsByPath::new(&Measures::new(&Metrics::default()), templates);
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
        assert_eq!(&*rows.find(path).template, template, "{path}");
    }
}
