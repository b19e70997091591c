//! What happens to every request around its route: request id, CORS, compression, panics, access log.

use std::{
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::{Service, ServiceExt, service_fn};
use tower_http::compression::Compression;

use super::{
    connection::Peer,
    cors,
    metrics::{MetricsByPath, RouteMetrics, Verb},
};
use crate::http::{
    answer::Refusal,
    rest::{
        fast_path::{FastPath, Places},
        routes,
    },
    state::Shared,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken over from a caller, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Everything around the router; one for the whole door.
#[derive(Debug)]
pub(in crate::http) struct Pipeline {
    shared: Shared,
    router: Router,
    rows: MetricsByPath,
    places: Places,
    /// Makes request ids of this life differ from those of another.
    life: u64,
    requests: AtomicU64,
}

impl Pipeline {
    pub(in crate::http) fn new(shared: Shared) -> Self {
        let (router, rows) = routes::router(&shared);
        Self {
            shared,
            router,
            places: Places::new(&rows),
            rows,
            life: fastrand::u64(..),
            requests: AtomicU64::new(0),
        }
    }

    /// Answers a request, whatever happens to it.
    pub(in crate::http) async fn answer<B>(
        &self,
        request: Request<B>,
        peer: &Peer,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
    {
        let log = tracing::enabled!(tracing::Level::DEBUG).then(|| Entry::new(&request, peer));
        let id = self.request_id(&request);
        let mut response = match FastPath::of(&request) {
            Some(quick) => self.quickly(quick, request, &id).await,
            // Boxed, so that ordinary requests don't carry the room for it.
            None => Box::pin(self.with_cors(to_route(request, peer), &id)).await,
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
        let id = hexadecimal(self.life.wrapping_add(number));
        // Hexadecimal digits are always a valid value.
        HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("-"))
    }

    async fn with_cors(&self, request: Request<Body>, id: &HeaderValue) -> Response<Body> {
        if !request.headers().contains_key(header::ORIGIN) {
            return self.routed(request, id).await;
        }
        if request.method() == Method::OPTIONS && !cors::is_preflight(&request) {
            return self.routed(request, id).await;
        }
        let policy = self.shared.cors.load_full();
        policy
            .apply(request, |request| self.routed(request, id))
            .await
    }

    /// An ordinary request, past the router.
    async fn quickly<B>(
        &self,
        quick: FastPath,
        request: Request<B>,
        id: &HeaderValue,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let asked = Asked::of(&request, self.rows.at(self.places.of(quick)));
        let answered = pin!(quick.answer(&self.shared, request));
        self.around(asked, answered, id).await
    }

    async fn routed(&self, request: Request<Body>, id: &HeaderValue) -> Response<Body> {
        let options = request.method() == Method::OPTIONS;
        let asked = Asked::of(&request, self.rows.find(request.uri().path()));
        let mut router = self.router.clone();
        let answered = router.call(request);
        let answered = pin!(answered.map(|answer| answer.unwrap_or_else(|never| match never {})));
        let response = self.around(asked, answered, id).await;
        if options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return allowed(&response);
        }
        response
    }

    /// What happens to every answer, whichever way it is found. Pinned by the caller: a future that is handed
    /// down by value has room in each of those that hand it down.
    async fn around(
        &self,
        asked: Asked<'_>,
        answered: Pin<&mut impl Future<Output = Response<Body>>>,
        id: &HeaderValue,
    ) -> Response<Body> {
        let answered = AssertUnwindSafe(in_time(answered, asked.row.time_max)).catch_unwind();
        let mut response = match answered.await {
            Ok(response) => response,
            Err(panic) => panicked(&*panic, id),
        };
        asked.row.count(asked.verb, response.status());
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            add_options(&mut response);
        }
        if !self.is_worth_it(&response) {
            return response;
        }
        // Also when this client does not ask for it: a cache would give it to one that does.
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
        match asked.gzip {
            Some(accepted) => Box::pin(compressed(response, accepted)).await,
            None => response,
        }
    }

    /// JSON that is encoded while it is sent is large; other streams are left as they are.
    fn is_worth_it(&self, response: &Response<Body>) -> bool {
        match response.body().size_hint().exact() {
            Some(size) => size >= self.shared.limits.gzip_min,
            None => {
                let kind = response.headers().get(header::CONTENT_TYPE);
                kind.is_some_and(|kind| kind == "application/json")
            }
        }
    }
}

/// What has to be known of a request when its answer is there.
#[derive(Debug)]
struct Asked<'a> {
    row: &'a RouteMetrics,
    verb: Verb,
    /// What the client accepts, when that is gzip among others.
    gzip: Option<HeaderValue>,
}

impl<'a> Asked<'a> {
    fn of<B>(request: &Request<B>, row: &'a RouteMetrics) -> Self {
        Self {
            row,
            verb: Verb::from(request.method()),
            gzip: accepts_gzip(request),
        }
    }
}

/// The request as the router takes it.
fn to_route<B>(request: Request<B>, peer: &Peer) -> Request<Body>
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

/// OPTIONS is answered on every path, which the router does not know.
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

fn accepts_gzip<B>(request: &Request<B>) -> Option<HeaderValue> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING)?;
    let gzip = accepted.as_bytes().windows(4).any(|word| word == b"gzip");
    gzip.then(|| accepted.clone())
}

/// Compresses an answer; as a whole where its length was known, so that it is known again.
async fn compressed(response: Response<Body>, accepted: HeaderValue) -> Response<Body> {
    let mut question = Request::new(Body::empty());
    question
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, accepted);
    let as_a_whole = response.body().size_hint().exact().is_some();
    let mut ready = Some(response);
    let inner = service_fn(move |_: Request<Body>| {
        let response = ready.take().unwrap_or_default();
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let Ok(response) = Compression::new(inner).oneshot(question).await;
    let (parts, body) = response.into_parts();
    if !as_a_whole {
        return Response::from_parts(parts, Body::new(body));
    }
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, Body::from(whole.to_bytes())),
        Err(error) => {
            tracing::error!(%error, "an answer could not be compressed");
            Refusal::new(500, "the answer could not be compressed").into_response()
        }
    }
}

fn late(max: Duration) -> Response<Body> {
    let seconds = max.as_secs_f64();
    let detail = format!("the request took longer than {seconds} s (http.request_timeout)");
    Refusal::new(503, detail).into_response()
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
    Refusal::new(
        500,
        format!("an internal error; the log has it as request {id}"),
    )
    .into_response()
}

/// A line of the access log.
struct Entry {
    peer: IpAddr,
    method: Method,
    path: String,
    began: Instant,
}

impl Entry {
    fn new<B>(request: &Request<B>, peer: &Peer) -> Self {
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
