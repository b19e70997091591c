//! Which pages of other origins may use the API (CORS); can change while the server runs.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, Response, header, request::Parts},
};
use serde::Deserialize;

use crate::quantity::{Bounded, YEAR};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::authority::Authority;

/// Section `http.cors`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://ops.example.com`, `http://localhost:*` for any port, or `*` for any origin.
    pub origins: Vec<String>,
    /// Methods by name.
    pub methods: Vec<String>,
    /// Headers a page may send, or `*` for whichever it asks for.
    pub headers: Vec<String>,
    /// Whether cookies and the like may be sent along.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Bounded<Duration, 0, YEAR>,
}

impl Default for Cors {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Self {
            origins: texts(&["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"]),
            methods: texts(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            headers: texts(&["*"]),
            credentials: false,
            max_age: Duration::from_secs(600).into(),
        }
    }
}

impl Cors {
    /// Everything that is wrong with it.
    pub(super) fn faults(&self) -> Vec<CorsError> {
        let mut faults = Vec::new();
        let origins = self.origins.iter().filter(|text| *text != "*");
        faults.extend(origins.filter_map(|text| ListedOrigins::default().add(text).err()));
        faults.extend(self.methods.iter().filter_map(|text| method(text).err()));
        let headers = self.headers.iter().filter(|text| *text != "*");
        faults.extend(headers.filter_map(|text| header_name(text).err()));
        if self.credentials && self.origins.iter().any(|text| text == "*") {
            faults.push(CorsError::AnyWithCredentials);
        }
        faults
    }
}

/// Why a policy can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum CorsError {
    /// A browser refuses that combination.
    #[error(
        "http.cors.credentials can't be combined with \"*\" in http.cors.origins: name the origins"
    )]
    AnyWithCredentials,
    /// Not an origin.
    #[error("http.cors.origins: \"{0}\" is not an origin such as \"https://ops.example.com\"")]
    Origin(String),
    /// Not a method, or `*`.
    #[error("http.cors.methods: \"{0}\" is not a method such as \"GET\"; name each")]
    Method(String),
    /// Not a header's name.
    #[error("http.cors.headers: \"{0}\" is not a header's name")]
    Header(String),
}

/// A policy that is ready to be followed.
#[derive(Clone, Debug)]
pub(in crate::http) struct CorsPolicy {
    layer: CorsLayer,
    origins: Arc<ListedOrigins>,
}

impl CorsPolicy {
    pub(in crate::http) fn new(cors: &Cors) -> Result<Self, CorsError> {
        let origins = Arc::new(ListedOrigins::new(cors)?);
        let methods: Result<Vec<_>, _> = cors.methods.iter().map(|text| method(text)).collect();
        let layer = CorsLayer::new()
            .allow_origin(allowed(&origins))
            .allow_methods(methods?)
            .allow_headers(headers(cors)?)
            .allow_credentials(cors.credentials)
            .expose_headers(EXPOSED)
            .max_age(*cors.max_age);
        Ok(Self { layer, origins })
    }

    /// True for an origin of `http.cors.origins`.
    pub(super) fn lists(&self, origin: &str) -> bool {
        self.origins.lists(origin)
    }

    /// Answers a preflight, or has `answer` do it and adds the headers that the browser checks.
    pub(in crate::http) async fn apply<F>(
        &self,
        request: Request<Body>,
        answer: impl Fn(Request<Body>) -> F + Clone,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let inner = service_fn(move |request| {
            let answered = answer(request);
            async move { Ok::<_, std::convert::Infallible>(answered.await) }
        });
        match self.layer.layer(inner).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Headers of answers that a page may read.
const EXPOSED: [HeaderName; 6] = [
    HeaderName::from_static("x-muster-index"),
    HeaderName::from_static("x-musterd-warnings"),
    HeaderName::from_static("x-request-id"),
    header::RETRY_AFTER,
    header::ALLOW,
    header::LOCATION,
];

/// The origins of a policy.
#[derive(Debug, Default)]
struct ListedOrigins {
    any: bool,
    exact: Vec<String>,
    /// Scheme and host of those that may have any port.
    any_port: Vec<String>,
}

impl ListedOrigins {
    fn new(cors: &Cors) -> Result<Self, CorsError> {
        let mut origins = Self::default();
        for text in &cors.origins {
            origins.add(text)?;
        }
        if origins.any && cors.credentials {
            return Err(CorsError::AnyWithCredentials);
        }
        Ok(origins)
    }

    fn add(&mut self, text: &str) -> Result<(), CorsError> {
        if text == "*" {
            self.any = true;
            return Ok(());
        }
        let (list, origin) = match text.strip_suffix(":*") {
            Some(origin) => (&mut self.any_port, origin),
            None => (&mut self.exact, text),
        };
        if !is_origin(origin) {
            return Err(CorsError::Origin(text.to_owned()));
        }
        list.push(origin.to_ascii_lowercase());
        Ok(())
    }

    fn lists(&self, origin: &str) -> bool {
        if self.any {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        let has_any_port = |known: &String| {
            let rest = origin.strip_prefix(known.as_str());
            rest.is_some_and(|rest| rest.is_empty() || is_port(rest))
        };
        self.exact.contains(&origin) || self.any_port.iter().any(has_any_port)
    }
}

fn allowed(origins: &Arc<ListedOrigins>) -> AllowOrigin {
    if origins.any {
        return AllowOrigin::any();
    }
    let origins = Arc::clone(origins);
    AllowOrigin::predicate(move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| origins.lists(origin))
    })
}

/// A scheme and an authority (RFC 6454, section 7).
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && (scheme.chars()).all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme && !authority.contains('*') && Authority::parse(authority).is_some()
}

/// A colon and a port.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn method(text: &str) -> Result<Method, CorsError> {
    let wrong = || CorsError::Method(text.to_owned());
    if text == "*" {
        return Err(wrong());
    }
    Method::from_bytes(text.as_bytes()).map_err(|_| wrong())
}

fn headers(cors: &Cors) -> Result<AllowHeaders, CorsError> {
    if cors.headers.iter().any(|name| name == "*") {
        return Ok(AllowHeaders::mirror_request());
    }
    let list: Result<Vec<_>, _> = cors.headers.iter().map(|text| header_name(text)).collect();
    Ok(AllowHeaders::list(list?))
}

fn header_name(text: &str) -> Result<HeaderName, CorsError> {
    text.parse().map_err(|_| CorsError::Header(text.to_owned()))
}

/// True for the question a browser asks before a request to another origin.
pub(in crate::http) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && request.headers().contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests;
