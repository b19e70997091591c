//! The REST API as a service: the router, and the fast path past it.

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Method, Request, Response},
};
use bytes::Bytes;

use super::{
    admission,
    fast_path::{FastPath, FastRoutes},
    routes,
    without_effect::without_effect,
};
use crate::{
    catalog::Identity,
    http::{
        answer::HttpProblem,
        serve::{
            HttpService,
            connection::HttpPeer,
            metrics::{MetricsByPath, RouteMetrics},
        },
        state::AppState,
    },
    registry::waking_afterwards,
};

/// The routes and what they reach.
#[derive(Debug)]
pub(in crate::http) struct RestService {
    state: AppState,
    router: Router,
    metrics: MetricsByPath,
    fast: FastRoutes,
    /// The paths that need no identity.
    open: Vec<String>,
}

impl RestService {
    pub(in crate::http) fn new(state: AppState) -> Self {
        let (router, metrics) = routes::router(&state);
        Self {
            state,
            router,
            fast: FastRoutes::new(&metrics),
            open: routes::open_paths(),
            metrics,
        }
    }
}

impl HttpService for RestService {
    type Fast = FastPath;

    fn fast_path<B>(&self, request: &Request<B>) -> Option<FastPath> {
        FastPath::of(request)
    }

    fn admit<B>(
        &self,
        request: &Request<B>,
        peer: &HttpPeer,
    ) -> Result<Option<HttpPeer>, HttpProblem> {
        if !self.state.identities.is_on() {
            return Ok(None);
        }
        let path = request.uri().path();
        // A preflight carries no token, and its answer needs none.
        if *request.method() == Method::OPTIONS {
            return Ok(Some(peer.identified(Identity::Anonymous)));
        }
        if routes::is_open(&self.open, path) {
            let identity = admission::known(&self.state, request, peer);
            return Ok(Some(peer.identified(identity)));
        }
        match admission::recognise(&self.state, request, peer)? {
            Identity::Anonymous => Err(admission::unknown()),
            identity => Ok(Some(peer.identified(identity))),
        }
    }

    fn fast_metrics(&self, fast: FastPath) -> &RouteMetrics {
        self.metrics.at(self.fast.index(fast))
    }

    fn answer_fast<B>(
        &self,
        fast: FastPath,
        request: Request<B>,
        peer: &HttpPeer,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        B: HttpBody<Data = Bytes, Error: Send> + Send + Unpin,
    {
        fast.answer(&self.state, request, peer)
    }

    fn router(&self) -> &Router {
        &self.router
    }

    fn metrics_of(&self, path: &str) -> &RouteMetrics {
        self.metrics.find(path)
    }

    fn without_effect(&self, route: &str, query: &str) -> Vec<String> {
        without_effect(route, query)
    }

    /// Watchers of everything are woken after the answer is written: to wake a thread takes longer than to
    /// register.
    fn turn<T>(turn: impl FnOnce() -> T) -> T {
        waking_afterwards(turn)
    }
}
