//! A connection with TLS: the handshake, then HTTP/2 or HTTP/1.1, as both sides agreed (ALPN, RFC 7301).

use std::{net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, time::timeout};

use super::{
    HttpService,
    connection::{HttpPeer, http1},
    http2::http2,
    pipeline::Pipeline,
};
use crate::{
    api::Problem,
    http::answer::closing_answer,
    tls::{AcceptedTls, ServerTls},
};

/// What the first byte of a TLS connection is: the type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// Serves one connection until it ends, its client is too slow or the server stops. The handshake counts as a
/// connection.
pub(super) async fn serve<S: HttpService>(
    stream: TcpStream,
    address: SocketAddr,
    tls: ServerTls,
    pipeline: Arc<Pipeline<S>>,
) {
    let state = &pipeline.serve;
    // As without TLS: a connection on which nothing has come yet costs no buffers.
    let mut first = [0];
    tokio::select! {
        seen = timeout(state.limits.patience.head, stream.peek(&mut first)) => {
            if !matches!(seen, Ok(Ok(1..))) {
                return;
            }
        }
        () = state.closing.cancelled() => return,
    }
    if first != [HANDSHAKE] {
        refuse_plain(&stream);
        return;
    }
    let _ = stream.set_nodelay(true);
    let accepted = tokio::select! {
        accepted = Box::pin(tls.accept(stream)) => accepted,
        () = state.closing.cancelled() => return,
    };
    let count = |result: &str| state.metrics.handshakes.with_label_values(&[result]).inc();
    let AcceptedTls {
        stream,
        client,
        is_http2,
    } = match accepted {
        Ok(accepted) => accepted,
        Err(error) => {
            count("failed");
            tracing::debug!(peer = %address, "the TLS handshake with {address} failed: {error}");
            return;
        }
    };
    let peer = HttpPeer::connected(address, client);
    if is_http2 {
        count("http2");
        Box::pin(http2(stream, peer, Arc::clone(&pipeline))).await;
    } else {
        count("http1");
        Box::pin(http1(stream, peer, Arc::clone(&pipeline))).await;
    }
}

/// Answers a client that speaks no TLS, as far as that is possible without waiting.
fn refuse_plain(stream: &TcpStream) {
    let problem = Problem::new(400, "this address speaks TLS only: use https://");
    // Whether it can be written or not, the connection is closed.
    let _ = stream.try_write(&closing_answer(&problem));
}
