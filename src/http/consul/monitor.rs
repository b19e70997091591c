//! A stream of the daemon's log.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tracing::Level;

use super::{
    answer::{ConsulError, ConsulResult},
    call::ConsulCall,
    query::shown,
    state::ConsulState,
};
use crate::{
    http::watch::WatcherKind,
    security::{Protected, Right},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// `GET /v1/agent/monitor?loglevel=`
pub(super) async fn monitor(State(state): State<ConsulState>, call: ConsulCall) -> ConsulResult {
    state.require(&call, Protected::System, Right::Read)?;
    let level = call.query.get("loglevel").unwrap_or("info");
    let level = match level.to_ascii_lowercase().as_str() {
        "" | "info" => Level::INFO,
        "trace" => Level::TRACE,
        "debug" => Level::DEBUG,
        "warn" => Level::WARN,
        "err" | "error" => Level::ERROR,
        _ => {
            let text = format!(
                "Unknown log level: \"{}\"; it must be trace, debug, info, warn or err",
                shown(level)
            );
            return Err(ConsulError::bad(text));
        }
    };
    let entered = state
        .app
        .enter_watcher(&call.peer, WatcherKind::Stream, "the log");
    let permit = entered?;
    let Some(lines) = state.controls.follow_log(level) else {
        let text = "the program that embeds the daemon writes the log";
        return Err(ConsulError::new(501, text));
    };
    let lines = stream::unfold((lines, permit), |(mut lines, permit)| async {
        let line = lines.recv().await?;
        let line =
            Ok::<_, std::convert::Infallible>(Bytes::from(line.into_boxed_bytes().into_vec()));
        Some((line, (lines, permit)))
    });
    let closing = state.serve.closing.clone();
    let peer = call.peer.clone();
    let end = async move {
        tokio::select! {
            () = closing.cancelled() => (),
            () = peer.disconnected() => (),
            () = peer.revoked() => (),
        }
    };
    let body = Body::from_stream(lines.take_until(Box::pin(end)));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    Ok(response)
}
