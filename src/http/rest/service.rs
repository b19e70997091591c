//! The REST API as a service: the router, and the fast path past it.

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response},
};
use bytes::Bytes;

use super::{
    fast_path::{FastPath, FastRoutes},
    routes,
};
use crate::{
    http::{
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
}

impl RestService {
    pub(in crate::http) fn new(state: AppState) -> Self {
        let (router, metrics) = routes::router(&state);
        Self {
            state,
            router,
            fast: FastRoutes::new(&metrics),
            metrics,
        }
    }
}

impl HttpService for RestService {
    type Fast = FastPath;

    fn fast_path<B>(&self, request: &Request<B>) -> Option<FastPath> {
        FastPath::of(request)
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

    /// Watchers of everything are woken after the answer is written: to wake a thread takes longer than to
    /// register.
    fn turn<T>(turn: impl FnOnce() -> T) -> T {
        waking_afterwards(turn)
    }
}
