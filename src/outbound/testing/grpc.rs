//! A health service over HTTP/2 that keeps the protocol, or breaks it in the way that a test asks for.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::outbound::grpc::ConnectionTasks;

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn ended(code: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers
}

fn with_trailers(body: &[u8], trailers: HeaderMap) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(body));
    let body = body.with_trailers(async move { Some(Ok(trailers)) });
    Answer::new(body.boxed())
}

/// Answers for a few services, each named after what is wrong with it.
async fn answer(request: http::Request<Incoming>) -> Result<Answer, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let body = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let service = String::from_utf8(body.get(7..).unwrap_or(b"").to_vec()).expect("text");
    Ok(match service.as_str() {
        "" => with_trailers(&[0, 0, 0, 0, 2, 8, 1], ended("0")),
        "down" => with_trailers(&[0, 0, 0, 0, 2, 8, 2], ended("0")),
        "default" => with_trailers(&[0, 0, 0, 0, 0], ended("0")),
        "failing" => with_trailers(&[0, 0, 0, 0, 2, 8, 1], ended("13")),
        "untrailed" => with_trailers(&[0, 0, 0, 0, 2, 8, 1], HeaderMap::new()),
        "huge" => with_trailers(&[0; 100_000], ended("0")),
        "http" => {
            let mut answer = with_trailers(b"", HeaderMap::new());
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
            answer
        }
        _ => {
            let mut answer = Response::new(Full::new(Bytes::new()).boxed());
            *answer.headers_mut() = ended("5");
            let message = HeaderValue::from_static("unknown%20service");
            answer.headers_mut().insert("grpc-message", message);
            answer
        }
    })
}

/// Serves one connection.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let serving = http2::Builder::new(ConnectionTasks::default())
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let _ = serving.await;
}
