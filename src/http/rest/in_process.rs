//! Requests to the REST API from within the process, without a socket.

use axum::{Router, body::Body, http::Request};
use bytes::Bytes;
use http_body_util::BodyExt;
use tower::Service;

use super::routes;
use crate::http::{serve::connection::HttpPeer, state::HttpApp};

/// A client of the REST API without a socket.
#[derive(Clone, Debug)]
pub struct InProcessClient {
    router: Router,
}

impl HttpApp {
    /// A client of this API.
    pub fn client(&self) -> InProcessClient {
        InProcessClient {
            router: routes::router(&self.state).0,
        }
    }
}

impl InProcessClient {
    /// The body of a GET that is answered with 200; none for every other code.
    pub async fn get(&self, path: &str) -> Option<Bytes> {
        let mut request = Request::get(path).body(Body::empty()).ok()?;
        request.extensions_mut().insert(HttpPeer::daemon());
        let mut router = self.router.clone();
        let response = router.call(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let whole = response.into_body().collect().await.ok()?;
        Some(whole.to_bytes())
    }
}
