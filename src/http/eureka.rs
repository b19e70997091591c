//! Eureka's REST operations, under `/eureka` and `/eureka/v2`: a door to the same registry as REST.
//!
//! Parses, asks the catalog, and answers in Eureka's XML or JSON. Decides nothing about services.

mod apps;
mod draft;
mod endpoints;
mod tree;
mod view;
mod writer;

use axum::{
    http::Method,
    routing::{MethodRouter, delete, get, post, put},
};

pub(in crate::http) use self::apps::EurekaAnswers;
pub use self::draft::EurekaDraft;
use super::state::AppState;

/// The paths under which the operations are: that of Spring Cloud and of others, and Netflix' own.
const PREFIXES: [&str; 2] = ["/eureka", "/eureka/v2"];

/// One operation.
#[derive(Debug)]
pub(in crate::http) struct EurekaRoute {
    pub(in crate::http) method: Method,
    pub(in crate::http) path: String,
    pub(in crate::http) endpoint: MethodRouter<AppState>,
}

/// Every operation, under each prefix.
pub(in crate::http) fn routes() -> Vec<EurekaRoute> {
    PREFIXES.into_iter().flat_map(routes_under).collect()
}

/// Whether a path is one of this door.
pub(in crate::http) fn is_path(path: &str) -> bool {
    path.strip_prefix("/eureka")
        .is_some_and(|rest| rest.starts_with('/'))
}

fn routes_under(prefix: &str) -> impl Iterator<Item = EurekaRoute> {
    let reads: [(&str, MethodRouter<AppState>); 10] = [
        ("/apps", get(endpoints::apps)),
        ("/apps/", get(endpoints::apps)),
        ("/apps/delta", get(endpoints::delta)),
        ("/apps/delta/", get(endpoints::delta)),
        ("/apps/{app}", get(endpoints::app)),
        ("/apps/{app}/", get(endpoints::app)),
        ("/apps/{app}/{id}", get(endpoints::instance_of_app)),
        ("/instances/{id}", get(endpoints::instance)),
        ("/vips/{vip}", get(endpoints::vip)),
        ("/svips/{vip}", get(endpoints::secure_vip)),
    ];
    let writes: [(Method, &str, MethodRouter<AppState>); 8] = [
        (Method::POST, "/apps/{app}", post(endpoints::register)),
        (Method::POST, "/apps/{app}/", post(endpoints::register)),
        (Method::PUT, "/apps/{app}/{id}", put(endpoints::renew)),
        (
            Method::DELETE,
            "/apps/{app}/{id}",
            delete(endpoints::cancel),
        ),
        (
            Method::PUT,
            "/apps/{app}/{id}/status",
            put(endpoints::set_status),
        ),
        (
            Method::DELETE,
            "/apps/{app}/{id}/status",
            delete(endpoints::lift_status),
        ),
        (
            Method::PUT,
            "/apps/{app}/{id}/metadata",
            put(endpoints::metadata),
        ),
        (Method::PUT, "/apps/{app}/{id}/", put(endpoints::renew)),
    ];
    let reads = reads.map(|(path, endpoint)| (Method::GET, path, endpoint));
    let all = reads.into_iter().chain(writes);
    all.map(move |(method, path, endpoint)| EurekaRoute {
        method,
        path: format!("{prefix}{path}"),
        endpoint,
    })
}

/// Whether a service is the one that clients call by this app name: names of apps have no case.
fn is_app(service: &str, app: &str) -> bool {
    service.eq_ignore_ascii_case(app) || service.to_uppercase() == app.to_uppercase()
}

#[cfg(test)]
mod tests;
