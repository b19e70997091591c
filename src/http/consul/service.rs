//! This door as a service of `serve`: the router, and who sends a request.

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, HttpBody},
    http::{Method, Request, Response},
};
use bytes::Bytes;

use super::{routes, state::ConsulState};
use crate::{
    api,
    catalog::Identity,
    http::{
        answer::HttpProblem,
        rest::{recognise, token_required},
        serve::{
            HttpService,
            connection::HttpPeer,
            metrics::{MetricsByPath, RouteMetrics},
        },
    },
    registry::waking_afterwards,
};

/// Paths that need no identity.
const OPEN: [&str; 2] = ["/v1/status/leader", "/v1/status/peers"];

/// The routes and what they reach.
#[derive(Debug)]
pub(super) struct ConsulService {
    state: ConsulState,
    router: Router,
    metrics: MetricsByPath,
}

impl ConsulService {
    pub(super) fn new(state: ConsulState) -> Self {
        let (router, metrics) = routes::router(&state);
        Self {
            state,
            router,
            metrics,
        }
    }
}

impl HttpService for ConsulService {
    type Fast = Infallible;

    fn fast_path<B>(&self, _: &Request<B>) -> Option<Infallible> {
        None
    }

    fn admit<B>(
        &self,
        request: &Request<B>,
        peer: &HttpPeer,
    ) -> Result<Option<HttpPeer>, HttpProblem> {
        let app = &self.state.app;
        let path = request.uri().path();
        if !app.identities.is_on() {
            return Ok(None);
        }
        if *request.method() == Method::OPTIONS || OPEN.contains(&path) {
            return Ok(Some(peer.identified(Identity::Anonymous)));
        }
        let mut identity = recognise(app, request, peer)?;
        if identity == Identity::Anonymous
            && let Some(token) = of_query(request.uri().query())
        {
            let recognised = app.identities.recognise(&token, peer.address, app.now());
            let refused =
                |refused: crate::security::LoginRefused| HttpProblem::new(401, refused.to_string());
            identity = recognised.map(Identity::Of).map_err(refused)?;
        }
        match identity {
            Identity::Anonymous => Err(token_required()),
            identity => Ok(Some(peer.identified(identity))),
        }
    }

    fn refusal(&self, refused: &HttpProblem) -> Response<Body> {
        use axum::response::IntoResponse;
        super::answer::ConsulError::from(refused.clone()).into_response()
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

    fn turn<T>(turn: impl FnOnce() -> T) -> T {
        waking_afterwards(turn)
    }
}

/// `?token=`, which older clients send.
fn of_query(query: Option<&str>) -> Option<String> {
    let mut pairs = api::pairs(query?);
    let found = pairs.find(|(key, value)| key == "token" && !value.is_empty());
    found.map(|(_, value)| value.into_owned())
}
