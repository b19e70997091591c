//! Carries HTTP for a service: listeners, connections, limits, timeouts, access rules, and what happens to
//! every request around its route. Knows no path and no instance.
//!
//! A connection is any stream of bytes, with or without TLS. All listeners share the limits of [`ServeState`].

pub(in crate::http) mod access;
mod authority;
pub(in crate::http) mod connection;
pub(in crate::http) mod cors;
mod encrypted;
pub(in crate::http) mod held;
mod http2;
mod listener;
pub(in crate::http) mod metrics;
pub(in crate::http) mod pipeline;
mod stream;
pub(in crate::http) mod watchdog;

use std::{
    fmt::{self, Display},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response},
    response::IntoResponse,
};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(in crate::http) use self::listener::{bind, serve};
pub use self::{
    access::AccessError,
    cors::{Cors, CorsError},
    listener::{BindError, HttpListener},
};
use self::{
    access::AccessPolicy,
    connection::HttpPeer,
    held::{HeldAnswers, ReplacedBytes},
    metrics::{RouteMetrics, ServeMetrics},
    watchdog::Patience,
};
use super::answer::HttpProblem;

/// The service of a server: routes, and a fast path past the router.
pub(in crate::http) trait HttpService: fmt::Debug + Send + Sync + 'static {
    /// A request that is answered without the router.
    type Fast: Copy + Send;

    /// Recognizes such a request by its method, path and headers.
    fn fast_path<B>(&self, request: &Request<B>) -> Option<Self::Fast>;

    /// Recognises who sends a request, before its route; none without authentication.
    ///
    /// # Errors
    /// It is not recognised: 401, or 429 after too many failures.
    fn admit<B>(&self, _: &Request<B>, _: &HttpPeer) -> Result<Option<HttpPeer>, HttpProblem> {
        Ok(None)
    }

    /// The answer to a request that is refused before its route.
    fn refusal(&self, refused: &HttpProblem) -> Response<Body> {
        refused.clone().into_response()
    }

    /// Where such requests are counted.
    fn fast_metrics(&self, fast: Self::Fast) -> &RouteMetrics;

    /// Answers one.
    fn answer_fast<B>(
        &self,
        fast: Self::Fast,
        request: Request<B>,
        peer: &HttpPeer,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        B: HttpBody<Data = Bytes, Error: Send> + Send + Unpin;

    /// Answers all others.
    fn router(&self) -> &Router;

    /// Where requests of this path are counted, and how long they may take.
    fn metrics_of(&self, path: &str) -> &RouteMetrics;

    /// Parameters of a query that its route knows and that have no effect in it, each as a sentence.
    fn without_effect(&self, _route: &str, _query: &str) -> Vec<String> {
        Vec::new()
    }

    /// Runs one turn of a connection; a service may do afterwards what the turn has left to do.
    fn turn<T>(turn: impl FnOnce() -> T) -> T {
        turn()
    }
}

/// The state that all connections of a server share.
#[derive(Debug)]
pub(in crate::http) struct ServeState {
    pub(in crate::http) limits: ServeLimits,
    pub(in crate::http) access: Arc<ArcSwap<AccessPolicy>>,
    pub(in crate::http) metrics: ServeMetrics,
    /// What is kept for clients that read slowly.
    pub(in crate::http) held: Arc<HeldAnswers>,
    /// Cancelled when the server stops: streams and long polls end at once.
    pub(in crate::http) closing: CancellationToken,
    /// Upgraded connections: the server waits for those that hold one of its tokens.
    pub(in crate::http) upgraded: TaskTracker,
}

impl ServeState {
    /// `replaced` is how much state was replaced so far that answers may still hold.
    pub(in crate::http) fn new(
        limits: ServeLimits,
        access: AccessPolicy,
        metrics: ServeMetrics,
        replaced: ReplacedBytes,
    ) -> Self {
        Self {
            held: HeldAnswers::new(limits.held_max, replaced, metrics.clone()),
            limits,
            access: Arc::new(ArcSwap::from_pointee(access)),
            metrics,
            closing: CancellationToken::new(),
            upgraded: TaskTracker::new(),
        }
    }

    /// That of another server with the same limits and rules; it follows changes of the rules.
    pub(in crate::http) fn beside(other: &Self) -> Self {
        Self {
            limits: other.limits,
            access: Arc::clone(&other.access),
            held: Arc::clone(&other.held),
            metrics: other.metrics.beside(),
            closing: CancellationToken::new(),
            upgraded: TaskTracker::new(),
        }
    }
}

/// The limits of clients.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct ServeLimits {
    /// The largest head of a request, in bytes.
    pub(in crate::http) head_max: usize,
    /// The most headers of a request.
    pub(in crate::http) headers_max: usize,
    /// The most connections at once, of all listeners together.
    pub(in crate::http) connections_max: usize,
    /// The most requests at once of one HTTP/2 connection.
    pub(in crate::http) streams_max: u32,
    /// How long a client may keep a connection waiting.
    pub(in crate::http) patience: Patience,
    /// How long requests may take that are under way at a stop.
    pub(in crate::http) drain: Duration,
    /// Answers from this size on are compressed, in bytes.
    pub(in crate::http) gzip_min: u64,
    /// What may be held for clients that read slowly, in bytes.
    pub(in crate::http) held_max: u64,
}

/// Serves one client to the end. A panic outside of a request is logged with the client and ends that client only.
pub(in crate::http) async fn guarded(
    what: &'static str,
    client: impl Display,
    serving: impl Future<Output = ()>,
) {
    let served = AssertUnwindSafe(serving).catch_unwind().await;
    if served.is_err() {
        tracing::error!(
            peer = %client,
            "{what} of {client} is closed: its task panicked"
        );
    }
}

#[cfg(test)]
mod tests;
