//! Gateway routes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{limits, problem::Problem, read, vocabulary::encode, warnings::Warnings};
use crate::model::{Route, RouteDraft, RouteId, ServiceName};

/// Fields of answers about a route that are no fields of a request.
const ANSWERED: [&str; 5] = ["route_id", "id", "revision", "endpoints", "warnings"];

/// Reads the body of the route `route_id`, and says what it passed over.
///
/// # Errors
/// A 422 that names every wrong field, and the id if it is wrong.
pub fn route_draft(route_id: &str, body: &[u8]) -> Result<(RouteDraft, Warnings), Problem> {
    let route_id = RouteId::parse(route_id);
    let route_id = route_id.map_err(|error| Problem::field("route_id", error.to_string()));
    let read = read::request(body, &ANSWERED, |fields| {
        let path_prefix = fields.required("path_prefix", prefix);
        let service_name = fields.required("service_name", |v| read::name(v, ServiceName::parse));
        let strip_prefix = fields.optional("strip_prefix", read::flag);
        let methods = fields.optional("methods", methods);
        let priority = fields.optional("priority", |v| read::whole(v, i32::MIN, i32::MAX));
        Some(RouteDraft {
            route_id: route_id.clone().ok()?,
            path_prefix: path_prefix?,
            service_name: service_name?,
            strip_prefix: strip_prefix.unwrap_or(false),
            methods: methods.unwrap_or_default(),
            priority: priority.unwrap_or(0),
        })
    });
    match (route_id, read) {
        (Err(wrong), Err(more)) => Err(wrong.and(more)),
        (_, read) => read,
    }
}

fn prefix(value: &RawValue) -> Result<Box<str>, String> {
    let prefix = read::line(value, limits::URL_BYTES_MAX)?;
    if !prefix.starts_with('/') {
        return Err(format!("\"{prefix}\" must start with \"/\""));
    }
    if prefix.contains(['?', '#']) {
        return Err(format!("\"{prefix}\" must be a path alone"));
    }
    Ok(prefix)
}

fn methods(value: &RawValue) -> Result<Box<[Box<str>]>, String> {
    let mut methods: Vec<Box<str>> = Vec::new();
    for item in read::list(value, limits::METHODS_MAX)? {
        let method = read::line(item, limits::LABEL_BYTES_MAX)?.to_ascii_uppercase();
        if http::Method::from_bytes(method.as_bytes()).is_err() {
            return Err(format!("\"{method}\" is not a method"));
        }
        if !methods.iter().any(|known| **known == *method) {
            methods.push(method.into());
        }
    }
    Ok(methods.into())
}

/// A gateway route as it is answered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Route)]
pub struct RouteAnswer {
    /// Its identity.
    pub route_id: Box<str>,
    /// Starts with "/"; matches whole segments.
    pub path_prefix: Box<str>,
    /// Which service gets the requests.
    pub service_name: Box<str>,
    /// Whether the gateway removes the prefix.
    pub strip_prefix: bool,
    /// An empty list means all.
    pub methods: Box<[Box<str>]>,
    /// Of two routes with prefixes of the same length, the one with the higher priority wins.
    pub priority: i32,
    /// The change that made it.
    pub revision: u64,
    /// With the answer to a change: what of the request was ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
}

impl RouteAnswer {
    pub(super) fn of(route: &Route) -> Self {
        Self {
            route_id: route.route_id.as_str().into(),
            path_prefix: route.path_prefix.clone(),
            service_name: route.service_name.as_str().into(),
            strip_prefix: route.strip_prefix,
            methods: route.methods.clone(),
            priority: route.priority,
            revision: route.revision.0,
            warnings: None,
        }
    }
}

/// A route's JSON, encoded once.
pub fn route(route: &Route) -> Bytes {
    let encode = || Bytes::from(encode(&RouteAnswer::of(route)).into_boxed_slice());
    route.encoded.get_or_init(encode).clone()
}

/// Every route.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = Routes)]
pub struct RouteList {
    /// Best match first.
    pub routes: Vec<RouteAnswer>,
    /// How many.
    pub total_count: usize,
}

impl RouteList {
    /// The list in the order of `routes`.
    pub fn of<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let routes: Vec<_> = routes.map(RouteAnswer::of).collect();
        Self {
            total_count: routes.len(),
            routes,
        }
    }
}

#[cfg(test)]
mod tests;
