//! The management API as a service of a server: every request takes the router.

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Request, Response},
};
use bytes::Bytes;

use super::{ManagementState, routes};
use crate::http::serve::{
    HttpService, ServeState,
    connection::HttpPeer,
    metrics::{MetricsByPath, RouteMetrics},
};

/// The routes and what they reach.
#[derive(Debug)]
pub(super) struct ManagementService {
    router: Router,
    metrics: MetricsByPath,
}

impl ManagementService {
    pub(super) fn new(state: ManagementState, serve: &ServeState) -> Self {
        let time_max = state.config().request_timeout.get();
        let (router, metrics) = routes::router(&state, serve, time_max);
        Self { router, metrics }
    }
}

impl HttpService for ManagementService {
    /// There is none.
    type Fast = Infallible;

    fn fast_path<B>(&self, _: &Request<B>) -> Option<Infallible> {
        None
    }

    fn fast_metrics(&self, fast: Infallible) -> &RouteMetrics {
        match fast {}
    }

    async fn answer_fast<B>(&self, fast: Infallible, _: Request<B>, _: &HttpPeer) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Send> + Send + Unpin,
    {
        match fast {}
    }

    fn router(&self) -> &Router {
        &self.router
    }

    fn metrics_of(&self, path: &str) -> &RouteMetrics {
        self.metrics.find(path)
    }
}
