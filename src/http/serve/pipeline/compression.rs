//! Compresses large answers for clients that accept gzip.

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Request, Response, header},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};
use tower_http::compression::Compression;

use crate::http::answer::HttpProblem;

/// JSON that is encoded while it is sent is large; other streams are left as they are.
pub(super) fn is_worth_it(response: &Response<Body>, bytes_min: u64) -> bool {
    match response.body().size_hint().exact() {
        Some(size) => size >= bytes_min,
        None => {
            let kind = response.headers().get(header::CONTENT_TYPE);
            kind.is_some_and(|kind| kind == "application/json")
        }
    }
}

pub(super) fn accepts_gzip<B>(request: &Request<B>) -> Option<HeaderValue> {
    let accepted = request.headers().get(header::ACCEPT_ENCODING)?;
    let gzip = accepted.as_bytes().windows(4).any(|word| word == b"gzip");
    gzip.then(|| accepted.clone())
}

/// Compresses an answer; as a whole where its length was known, so that it is known again.
pub(super) async fn compressed(response: Response<Body>, accepted: HeaderValue) -> Response<Body> {
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
            HttpProblem::new(500, "the answer could not be compressed").into_response()
        }
    }
}
