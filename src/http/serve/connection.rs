//! One connection: HTTP/1.1 with upgrades, ended when its client keeps it waiting.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderValue, header::CONTENT_TYPE, request::Parts},
};
use futures_util::{FutureExt, StreamExt, future::Either, stream::FuturesUnordered};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use super::{
    pipeline::Pipeline,
    stream::WatchedStream,
    watchdog::{ConnectionWatchdog, Patience, Phase},
};
use crate::{
    http::{config::HEADERS_MAX_DEFAULT, state::Shared},
    registry::waking_afterwards,
};

/// The type of a stream of events.
pub(in crate::http) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The client, for endpoints that count by its address or wait for as long as it is there.
#[derive(Clone, Debug)]
pub(in crate::http) struct Peer {
    pub(in crate::http) address: IpAddr,
    pace: Option<Arc<ConnectionWatchdog>>,
}

impl Peer {
    /// A client that came over no connection.
    pub(in crate::http) fn nowhere() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            pace: None,
        }
    }

    /// Returns when the client has closed its side of the connection, or sends so much that its end
    /// could not be seen. Cancel safe.
    pub(in crate::http) async fn gone(&self) {
        match &self.pace {
            Some(pace) => pace.gone().await,
            None => std::future::pending().await,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get().cloned();
        Ok(peer.unwrap_or_else(Self::nowhere))
    }
}

/// Serves one connection until it ends, its client is too slow or the door closes.
pub(in crate::http) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    front: Arc<Pipeline>,
    shared: Shared,
) {
    let patience = Patience {
        head: shared.config.header_timeout.get(),
        idle: shared.config.keep_alive.get(),
        write: shared.config.write_timeout.get(),
    };
    // A connection on which nothing has come yet costs no buffers. Only a look says that there is
    // something: a new socket passes for readable.
    let mut first = [0];
    tokio::select! {
        seen = timeout(patience.head, stream.peek(&mut first)) => {
            if !matches!(seen, Ok(Ok(1..))) {
                return;
            }
        }
        () = shared.closing.cancelled() => return,
    }
    Box::pin(talk(stream, peer, patience, front, shared)).await;
}

async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    patience: Patience,
    front: Arc<Pipeline>,
    shared: Shared,
) {
    // Small answers are not held back to be sent together; one that can't be set changes no answer.
    let _ = stream.set_nodelay(true);
    let pace = ConnectionWatchdog::new();
    let peer = Peer {
        address: peer.ip(),
        pace: Some(Arc::clone(&pace)),
    };
    let service = service_fn(|request| answer(request, &peer, &front, &pace));
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&pace)));
    let head_max = usize::try_from(shared.config.head_max.as_u64()).unwrap_or(usize::MAX);
    let mut builder = http1::Builder::new();
    // As many as by default are read without an allocation, as long as the parser is not told so.
    if shared.config.headers_max != HEADERS_MAX_DEFAULT {
        builder.max_headers(shared.config.headers_max.get());
    }
    let connection = builder
        .timer(TokioTimer::new())
        // The watchdog sees to slow heads: it needs no timer for each request.
        .header_read_timeout(None)
        // Who has nothing more to say is answered all the same; whoever waits looks out for it.
        .half_close(true)
        .max_buf_size(head_max)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // In a set of its own, what is rarely due is looked at only when it is, not with each request.
    let mut aside = FuturesUnordered::new();
    let overdue = pace.overdue(patience).map(|()| Notable::Overdue);
    aside.push(Either::Left(overdue));
    let closing = shared.closing.cancelled().map(|()| Notable::Closing);
    aside.push(Either::Right(closing));
    loop {
        tokio::select! {
            biased;
            // What goes wrong on a connection is told to its client, as far as it listens. What requests
            // change is told to others when they are answered.
            _ = poll_fn(|cx| waking_afterwards(|| connection.as_mut().poll(cx))) => return,
            Some(notable) = aside.next() => match notable {
                Notable::Overdue => return,
                Notable::Closing if pace.phase() != Phase::Busy => return,
                Notable::Closing => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// What ends a connection before its client does.
enum Notable {
    Overdue,
    Closing,
}

async fn answer(
    request: Request<Incoming>,
    peer: &Peer,
    front: &Pipeline,
    pace: &ConnectionWatchdog,
) -> Result<Response<Body>, std::convert::Infallible> {
    pace.enter(Phase::Busy);
    let response = front.answer(request, peer).await;
    // A stream of events may be silent for as long as it likes.
    if response.headers().get(CONTENT_TYPE) != Some(&EVENTS) {
        pace.enter(Phase::Idle);
    }
    Ok(response)
}
