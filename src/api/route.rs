//! Gateway routes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::name,
    vocabulary::encode,
    warnings::Warnings,
};
use crate::model::{Route, ServiceName};

const SHAPE: Shape = Shape {
    known: &[
        "path_prefix",
        "service_name",
        "strip_prefix",
        "methods",
        "priority",
    ],
    own: &["route_id", "id", "revision", "endpoints", "warnings"],
};

/// What a caller says of a route; its id is in the path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteShape {
    /// Starts with "/"; matches whole segments.
    pub path_prefix: Box<str>,
    /// Who gets the requests.
    pub service_name: ServiceName,
    /// Whether the gateway takes the prefix off before it forwards.
    pub strip_prefix: bool,
    /// Upper-case methods it is for; none means all.
    pub methods: Box<[Box<str>]>,
    /// Decides between routes with prefixes of the same length: the higher one.
    pub priority: i32,
}

impl RouteShape {
    /// Reads the body of a route, and says what it passed over.
    ///
    /// # Errors
    /// A 422 that names every wrong field.
    pub fn read(body: &[u8]) -> Result<(Self, Warnings), Problem> {
        let object = Object::body(body, SHAPE)?;
        let mut faults = Faults::default();
        let path_prefix = faults.required(&object, "path_prefix", prefix);
        let service_name = faults.required(&object, "service_name", |value| {
            name(value, ServiceName::parse)
        });
        let strip_prefix = faults.optional(&object, "strip_prefix", read::flag);
        let methods = faults.optional(&object, "methods", methods);
        let priority = faults.optional(&object, "priority", priority);
        match (path_prefix, service_name) {
            (Some(path_prefix), Some(service_name)) if faults.errors.is_empty() => {
                let shape = Self {
                    path_prefix,
                    service_name,
                    strip_prefix: strip_prefix.unwrap_or(false),
                    methods: methods.unwrap_or_default(),
                    priority: priority.unwrap_or(0),
                };
                Ok((shape, Warnings::of(&object)))
            }
            _ => Err(Problem::invalid(faults.errors)),
        }
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

fn priority(value: &RawValue) -> Result<i32, String> {
    let number = read::whole(value, i32::MIN.into(), i32::MAX.into())?;
    i32::try_from(number).map_err(|error| error.to_string())
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

/// A route's JSON, encoded once in its life.
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
