//! Gateway routes.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    json::Json,
    limits,
    problem::Problem,
    read::{self, Faults, Object, Shape},
    registration::name,
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

/// A route's JSON, encoded once in its life.
pub fn route(route: &Route) -> Bytes {
    let encode = || {
        let mut json = Json::with_capacity(route.size() + 160);
        json.open(b'{');
        json.key("route_id").text(route.route_id.as_str());
        json.key("path_prefix").text(&route.path_prefix);
        json.key("service_name").text(route.service_name.as_str());
        json.key("strip_prefix").flag(route.strip_prefix);
        json.key("methods")
            .texts(route.methods.iter().map(|method| &**method));
        json.key("priority").signed(route.priority);
        json.key("revision").number(route.revision.0);
        json.close(b'}');
        Bytes::from(json.into_bytes().into_boxed_slice())
    };
    route.encoded.get_or_init(encode).clone()
}

#[cfg(test)]
mod tests;
