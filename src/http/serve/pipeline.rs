//! The steps of every request around its route: request id, access rules, CORS, HEAD, compression, panics,
//! timeouts, warnings, access log.

mod compression;

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use futures_util::FutureExt;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tower::Service;

use super::{
    HttpService, ServeState,
    connection::HttpPeer,
    cors,
    metrics::{RouteMetrics, Verb},
};
use crate::http::answer::HttpProblem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken over from a caller, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Names the query parameters that were ignored.
const WARNINGS: HeaderName = HeaderName::from_static("x-musterd-warnings");
/// More unknown parameters are not named, nor more characters of a name.
const UNKNOWN_NAMED_MAX: usize = 8;
const UNKNOWN_CHARS_MAX: usize = 64;

/// Everything around the routes of a service.
#[derive(Debug)]
pub(in crate::http) struct Pipeline<S> {
    service: S,
    pub(super) serve: Arc<ServeState>,
    /// Makes the request ids of this process differ from those of another.
    first_id: u64,
    requests: AtomicU64,
}

impl<S: HttpService> Pipeline<S> {
    pub(in crate::http) fn new(service: S, serve: Arc<ServeState>) -> Self {
        Self {
            service,
            serve,
            first_id: fastrand::u64(..),
            requests: AtomicU64::new(0),
        }
    }

    /// Answers a request, whatever happens to it.
    pub(in crate::http) async fn answer<B>(
        &self,
        request: Request<B>,
        peer: &HttpPeer,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<axum::BoxError> + Send> + Send + Unpin + 'static,
    {
        let log =
            tracing::enabled!(tracing::Level::DEBUG).then(|| AccessLogLine::new(&request, peer));
        let id = self.request_id(&request);
        let judged = self.serve.access.load().judge(&request);
        let admitted = judged.and_then(|()| self.service.admit(&request, peer));
        let (peer, refused) = match &admitted {
            Ok(recognised) => (recognised.as_ref().unwrap_or(peer), None),
            Err(refused) => (peer, Some(refused)),
        };
        let fast = match refused {
            None => self.service.fast_path(&request),
            Some(_) => None,
        };
        let mut response = match fast {
            Some(fast) => self.fast(fast, request, peer, &id).await,
            // Boxed, so that the fast path does not carry the room for it.
            None => Box::pin(self.with_cors(to_route(request, peer), refused, &id)).await,
        };
        if let Some(log) = log {
            log.write(&response, &id);
        }
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    fn request_id<B>(&self, request: &Request<B>) -> HeaderValue {
        let given = request.headers().get(REQUEST_ID);
        let usable = |id: &&HeaderValue| !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX;
        if let Some(id) = given.filter(usable) {
            return id.clone();
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = hexadecimal(self.first_id.wrapping_add(number));
        // Hexadecimal digits are always a valid value.
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
    }

    async fn with_cors(
        &self,
        request: Request<Body>,
        refused: Option<&HttpProblem>,
        id: &HeaderValue,
    ) -> Response<Body> {
        let is_options = request.method() == Method::OPTIONS;
        let is_refused = refused.is_some();
        let is_plain = !request.headers().contains_key(header::ORIGIN)
            || (is_options && (is_refused || !cors::is_preflight(&request)));
        if is_plain {
            return self.routed(request, refused, id).await;
        }
        let policy = self.serve.access.load_full();
        let routed = |request| self.routed(request, refused, id);
        policy.cors.apply(request, routed).await
    }

    /// A request that skips the router.
    async fn fast<B>(
        &self,
        fast: S::Fast,
        request: Request<B>,
        peer: &HttpPeer,
        id: &HeaderValue,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Send> + Send + Unpin,
    {
        let context = RequestContext::of(&request, self.service.fast_metrics(fast));
        let answered = pin!(self.service.answer_fast(fast, request, peer));
        self.around(context, answered, id).await
    }

    /// A request that the router answers, unless it is refused already.
    async fn routed(
        &self,
        mut request: Request<Body>,
        refused: Option<&HttpProblem>,
        id: &HeaderValue,
    ) -> Response<Body> {
        let method = request.method().clone();
        let metrics = self.service.metrics_of(request.uri().path());
        let context = RequestContext::of(&request, metrics);
        if method == Method::HEAD {
            // The answer of GET, without its body (RFC 9110, section 9.3.2): no connection is upgraded.
            *request.method_mut() = Method::GET;
            request.extensions_mut().remove::<OnUpgrade>();
        }
        let query = request.uri().query();
        let warning = query.and_then(|query| {
            let route = &metrics.spec.path;
            let without_effect = self.service.without_effect(route, query);
            warning(metrics, request.method(), query, without_effect)
        });
        let of_the_server = method == Method::OPTIONS && request.uri().path() == "*";
        let mut router = self.service.router().clone();
        let answered = pin!(async {
            match refused {
                Some(refusal) => self.service.refusal(refusal),
                None if of_the_server => options_of_the_server(),
                None => match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            }
        });
        let mut response = self.around(context, answered, id).await;
        if let Some(warning) = warning {
            response.headers_mut().insert(WARNINGS, warning);
        }
        match method {
            Method::HEAD => without_body(response),
            Method::OPTIONS if response.status() == StatusCode::METHOD_NOT_ALLOWED => {
                allowed(&response)
            }
            _ => response,
        }
    }

    /// The steps of every answer. Pinned by the caller: a future that is passed by value takes room in each
    /// of the callers.
    async fn around(
        &self,
        context: RequestContext<'_>,
        answered: Pin<&mut impl Future<Output = Response<Body>>>,
        id: &HeaderValue,
    ) -> Response<Body> {
        let time_max = context.metrics.spec.time_max;
        let answered = AssertUnwindSafe(in_time(answered, time_max)).catch_unwind();
        let mut response = match answered.await {
            Ok(response) => response,
            Err(panic) => panicked(&*panic, id),
        };
        context.metrics.count(context.verb, response.status());
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            add_options(&mut response);
        }
        if !compression::is_worth_it(&response, self.serve.limits.gzip_min) {
            return response;
        }
        // Also when this client does not ask for it: a cache would give it to one that does.
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
        match context.gzip {
            Some(accepted) => Box::pin(compression::compressed(response, accepted)).await,
            None => response,
        }
    }
}

/// The parts of a request that its answer needs.
#[derive(Debug)]
struct RequestContext<'a> {
    metrics: &'a RouteMetrics,
    verb: Verb,
    /// The header accept-encoding, if it allows gzip.
    gzip: Option<HeaderValue>,
}

impl<'a> RequestContext<'a> {
    fn of<B>(request: &Request<B>, metrics: &'a RouteMetrics) -> Self {
        Self {
            metrics,
            verb: Verb::from(request.method()),
            gzip: compression::accepts_gzip(request),
        }
    }
}

/// The request as the router takes it.
fn to_route<B>(request: Request<B>, peer: &HttpPeer) -> Request<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer.clone());
    request
}

async fn in_time(
    mut answered: Pin<&mut impl Future<Output = Response<Body>>>,
    max: Option<Duration>,
) -> Response<Body> {
    // Most are ready at once, and need no timer.
    if let Some(response) = answered.as_mut().now_or_never() {
        return response;
    }
    match max {
        None => answered.await,
        Some(max) => (tokio::time::timeout(max, answered).await).unwrap_or_else(|_| late(max)),
    }
}

/// OPTIONS is answered on every path, without the router.
fn add_options(refused: &mut Response<Body>) {
    let known = refused.headers().get(header::ALLOW);
    let known = known.and_then(|value| value.to_str().ok()).unwrap_or("");
    if let Ok(allow) = HeaderValue::from_str(&format!("{known},OPTIONS")) {
        refused.headers_mut().insert(header::ALLOW, allow);
    }
}

/// The answer to an OPTIONS that is no preflight: what the path allows.
fn allowed(refused: &Response<Body>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(allow) = refused.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    response
}

/// The answer to OPTIONS of the server as a whole (RFC 9110, section 9.3.7).
fn options_of_the_server() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let methods = HeaderValue::from_static("GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS");
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

/// The answer to HEAD: that of GET with all of its headers, and the length if that is known.
fn without_body(response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let (mut parts, _) = response.into_parts();
    if let Some(length) = length.filter(|_| parts.status != StatusCode::NO_CONTENT) {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, Body::empty())
}

/// Names the parameters of a query that its route does not know, and those without an effect.
fn warning(
    metrics: &RouteMetrics,
    method: &Method,
    query: &str,
    without_effect: Vec<String>,
) -> Option<HeaderValue> {
    let unknown = metrics.unknown(method, query);
    let sentence = |name: &&str| {
        let shown: String = name.chars().take(UNKNOWN_CHARS_MAX).collect();
        format!("query parameter \"{shown}\" is unknown and was ignored")
    };
    let named = unknown.iter().take(UNKNOWN_NAMED_MAX).map(sentence);
    let text = named.chain(without_effect).collect::<Vec<_>>().join("; ");
    let value = HeaderValue::try_from(text).ok();
    value.filter(|value| !value.is_empty())
}

fn late(max: Duration) -> Response<Body> {
    let seconds = max.as_secs_f64();
    let detail = format!("the request took longer than {seconds} s (http.request_timeout)");
    HttpProblem::new(503, detail).into_response()
}

fn panicked(panic: &(dyn std::any::Any + Send), id: &HeaderValue) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let id = id.to_str().unwrap_or("-");
    tracing::error!(
        request.id = id,
        panic = text.unwrap_or("without a message"),
        "request {id} panicked"
    );
    HttpProblem::new(
        500,
        format!("an internal error; the log has it as request {id}"),
    )
    .into_response()
}

/// A line of the access log.
struct AccessLogLine {
    peer: IpAddr,
    method: Method,
    path: String,
    began: Instant,
}

impl AccessLogLine {
    fn new<B>(request: &Request<B>, peer: &HttpPeer) -> Self {
        Self {
            peer: peer.address,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            began: Instant::now(),
        }
    }

    fn write(&self, response: &Response<Body>, id: &HeaderValue) {
        tracing::debug!(
            peer = %self.peer,
            method = %self.method,
            path = self.path,
            code = response.status().as_u16(),
            duration_ms = self.began.elapsed().as_secs_f64() * 1e3,
            request.id = id.to_str().unwrap_or("-"),
            "request"
        );
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'0'; 16];
    let mut left = number;
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(left & 15) as usize];
        left >>= 4;
    }
    out
}

#[cfg(test)]
mod tests;
