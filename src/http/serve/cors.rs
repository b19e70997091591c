//! Which pages of other origins may use the API; can change while it runs.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Method, Request, Response, header},
};
use serde::Deserialize;

use crate::quantity::{Bounded, YEAR};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// Section `http.cors`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins such as `https://ops.example.com`, or `*` for any.
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
            origins: texts(&["*"]),
            methods: texts(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            headers: texts(&["*"]),
            credentials: false,
            max_age: Duration::from_secs(600).into(),
        }
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
pub(in crate::http) struct Policy {
    layer: CorsLayer,
}

impl Policy {
    pub(in crate::http) fn new(cors: &Cors) -> Result<Self, CorsError> {
        let methods: Result<Vec<_>, _> = cors.methods.iter().map(|text| method(text)).collect();
        let layer = CorsLayer::new()
            .allow_origin(origins(cors)?)
            .allow_methods(methods?)
            .allow_headers(headers(cors)?)
            .allow_credentials(cors.credentials)
            .expose_headers(EXPOSED)
            .max_age(*cors.max_age);
        Ok(Self { layer })
    }

    /// Answers a preflight, or has `answer` do it and adds what the browser wants to know.
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
const EXPOSED: [HeaderName; 5] = [
    HeaderName::from_static("x-muster-index"),
    HeaderName::from_static("x-request-id"),
    header::RETRY_AFTER,
    header::ALLOW,
    header::LOCATION,
];

fn origins(cors: &Cors) -> Result<AllowOrigin, CorsError> {
    if cors.origins.iter().any(|origin| origin == "*") {
        if cors.credentials {
            return Err(CorsError::AnyWithCredentials);
        }
        return Ok(AllowOrigin::any());
    }
    let list: Result<Vec<_>, _> = cors.origins.iter().map(|text| origin(text)).collect();
    Ok(AllowOrigin::list(list?))
}

fn origin(text: &str) -> Result<HeaderValue, CorsError> {
    let wrong = || CorsError::Origin(text.to_owned());
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    if scheme.is_empty() || host.is_empty() || host.contains(['/', '?', '#', ' ', '*']) {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
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
    let name = |text: &String| text.parse().map_err(|_| CorsError::Header(text.clone()));
    let list: Result<Vec<HeaderName>, _> = cors.headers.iter().map(name).collect();
    Ok(AllowHeaders::list(list?))
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
