//! Where a gateway sends requests.

use std::sync::OnceLock;

use bytes::Bytes;

use super::{Revision, RouteId, ServiceName};

/// A gateway route as a caller describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteDraft {
    /// Its identity.
    pub route_id: RouteId,
    /// Starts with "/"; matches whole segments.
    pub path_prefix: Box<str>,
    /// The service that gets the requests.
    pub service_name: ServiceName,
    /// Whether the gateway removes the prefix before it forwards.
    pub strip_prefix: bool,
    /// Upper-case methods; empty means all.
    pub methods: Box<[Box<str>]>,
    /// Among routes with prefixes of equal length, the highest priority wins.
    pub priority: i32,
}

impl RouteDraft {
    /// The route that this makes at `revision`.
    pub fn at(self, revision: Revision) -> Route {
        Route {
            route_id: self.route_id,
            path_prefix: self.path_prefix,
            service_name: self.service_name,
            strip_prefix: self.strip_prefix,
            methods: self.methods,
            priority: self.priority,
            revision,
            encoded: OnceLock::new(),
        }
    }
}

/// Sends the requests under a path to a service.
#[derive(Debug)]
pub struct Route {
    /// Its identity.
    pub route_id: RouteId,
    /// Starts with "/"; matches whole segments.
    pub path_prefix: Box<str>,
    /// The service that gets the requests.
    pub service_name: ServiceName,
    /// Whether the gateway takes the prefix off before it forwards.
    pub strip_prefix: bool,
    /// Upper-case methods it is for; none means all.
    pub methods: Box<[Box<str>]>,
    /// Decides between routes with prefixes of the same length: the higher one.
    pub priority: i32,
    /// The change that made it.
    pub revision: Revision,
    /// Its JSON; filled by the first encoder.
    pub encoded: OnceLock<Bytes>,
}

impl Route {
    /// True when nothing but the revision differs.
    pub fn same_as(&self, other: &Self) -> bool {
        self.route_id == other.route_id
            && self.path_prefix == other.path_prefix
            && self.service_name == other.service_name
            && self.strip_prefix == other.strip_prefix
            && self.methods == other.methods
            && self.priority == other.priority
    }

    /// True when a request for `path` is this route's: the prefix ends where a segment ends.
    pub fn matches_path(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(&*self.path_prefix) else {
            return false;
        };
        rest.is_empty() || rest.starts_with('/') || self.path_prefix.ends_with('/')
    }

    /// True when a request with `method` is this route's.
    pub fn matches_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| **own == *method)
    }

    /// The bytes that it takes in the table and in the encoded list.
    pub fn memory(&self) -> usize {
        const FIXED_BYTES: usize = 400;
        FIXED_BYTES + 3 * self.size()
    }

    /// The bytes of its texts.
    pub fn size(&self) -> usize {
        let methods: usize = self.methods.iter().map(|method| method.len() + 3).sum();
        self.route_id.as_str().len()
            + self.path_prefix.len()
            + self.service_name.as_str().len()
            + methods
    }
}
