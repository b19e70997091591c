//! One connection: HTTP/1.1 with upgrades, ended when its client keeps it waiting for too long.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
};

use axum::{
    body::{Body, HttpBody},
    extract::FromRequestParts,
    http::{HeaderValue, header::CONTENT_TYPE, request::Parts},
};
use futures_util::{FutureExt, StreamExt, future::Either, stream::FuturesUnordered};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    HttpService,
    held::{AnswerReader, HeldAnswers},
    pipeline::Pipeline,
    stream::WatchedStream,
    watchdog::{ConnectionPhase, ConnectionWatchdog},
};
use crate::{
    catalog::Identity,
    http::config::HEADERS_MAX_DEFAULT,
    tls::{CertificateNames, ClientCertificate},
};

/// The type of a stream of events.
pub(in crate::http) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// The client of a request, for endpoints that limit by address, name it as the caller, or wait.
#[derive(Clone, Debug)]
pub(in crate::http) struct HttpPeer {
    pub(in crate::http) address: IpAddr,
    /// With the port; none for a client without a connection.
    pub(in crate::http) socket: Option<SocketAddr>,
    /// Who sends the request.
    pub(in crate::http) identity: Identity,
    /// The certificate that it has shown.
    certificate: Option<Arc<ClientCertificate>>,
    watchdog: Option<Arc<ConnectionWatchdog>>,
}

impl HttpPeer {
    /// A client without a connection.
    pub(in crate::http) fn without_connection() -> Self {
        Self {
            address: Ipv4Addr::UNSPECIFIED.into(),
            socket: None,
            identity: Identity::Anonymous,
            certificate: None,
            watchdog: None,
        }
    }

    /// A client at this address.
    #[cfg(test)]
    pub(in crate::http) fn at(address: IpAddr) -> Self {
        Self {
            address,
            ..Self::without_connection()
        }
    }

    /// The client of a connection; nothing notices when it closes its side.
    pub(super) fn connected(
        address: SocketAddr,
        certificate: Option<Arc<ClientCertificate>>,
    ) -> Self {
        Self {
            address: address.ip(),
            socket: Some(address),
            certificate,
            ..Self::without_connection()
        }
    }

    /// The daemon itself, without a connection.
    pub(in crate::http) fn daemon() -> Self {
        Self::without_connection().identified(Identity::Daemon)
    }

    /// The same client with an identity.
    pub(in crate::http) fn identified(&self, identity: Identity) -> Self {
        Self {
            address: self.address,
            socket: self.socket,
            identity,
            certificate: self.certificate.clone(),
            watchdog: self.watchdog.clone(),
        }
    }

    /// The names in the certificate that the client has shown, while it is valid.
    pub(in crate::http) fn certified(&self) -> Option<&CertificateNames> {
        let certificate = self.certificate.as_ref().filter(|one| one.is_valid());
        certificate.map(|one| one.names())
    }

    /// Returns when what the client was recognised by is no longer valid, or its certificate. Cancel safe.
    pub(in crate::http) async fn revoked(&self) {
        let recognised = async {
            match &self.identity {
                Identity::Of(principal) => principal.ended().await,
                Identity::Anonymous | Identity::Daemon => std::future::pending().await,
            }
        };
        match &self.certificate {
            None => recognised.await,
            Some(certificate) => {
                tokio::select! {
                    () = recognised => (),
                    () = certificate.ended() => (),
                }
            }
        }
    }

    /// The reader that a connection is after its upgrade; none without a connection.
    pub(in crate::http) fn reader(&self, held: &Arc<HeldAnswers>) -> Option<Arc<AnswerReader>> {
        let watchdog = self.watchdog.as_ref()?;
        Some(held.reader(self.socket, watchdog))
    }

    /// Returns when the connection is to be closed because too much is held for it. Cancel safe.
    pub(in crate::http) async fn cut(&self) {
        match &self.watchdog {
            Some(watchdog) => watchdog.until_cut().await,
            None => std::future::pending().await,
        }
    }

    /// Returns when the client has closed its side of the connection, or has sent so much that its end can't
    /// be seen. Cancel safe.
    pub(in crate::http) async fn disconnected(&self) {
        match &self.watchdog {
            Some(watchdog) => watchdog.disconnected().await,
            None => std::future::pending().await,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HttpPeer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get().cloned();
        Ok(peer.unwrap_or_else(Self::without_connection))
    }
}

/// Serves one connection until it ends, its client is too slow or the server stops.
pub(super) async fn serve<S: HttpService>(
    stream: TcpStream,
    address: SocketAddr,
    pipeline: Arc<Pipeline<S>>,
) {
    let patience = pipeline.serve.limits.patience;
    // A connection on which nothing has come yet costs no buffers. Only peeking shows whether something has
    // come: a new socket counts as readable.
    let mut first = [0];
    tokio::select! {
        seen = timeout(patience.head, stream.peek(&mut first)) => {
            if !matches!(seen, Ok(Ok(1..))) {
                return;
            }
        }
        () = pipeline.serve.closing.cancelled() => return,
    }
    // Small answers are not held back to be sent together. Without the option answers are the same.
    let _ = stream.set_nodelay(true);
    let peer = HttpPeer::connected(address, None);
    Box::pin(http1(stream, peer, pipeline)).await;
}

/// Speaks HTTP/1.1 over any stream of bytes.
pub(super) async fn http1<S, I>(stream: I, peer: HttpPeer, pipeline: Arc<Pipeline<S>>)
where
    S: HttpService,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limits = pipeline.serve.limits;
    let watchdog = ConnectionWatchdog::new();
    let peer = HttpPeer {
        watchdog: Some(Arc::clone(&watchdog)),
        ..peer
    };
    let service = service_fn(|request| answer(request, &peer, &pipeline, &watchdog));
    let io = TokioIo::new(WatchedStream::new(stream, Arc::clone(&watchdog)));
    let mut builder = http1::Builder::new();
    // Without this setting the parser takes the default number of headers without an allocation.
    if limits.headers_max != HEADERS_MAX_DEFAULT {
        builder.max_headers(limits.headers_max);
    }
    let connection = builder
        .timer(TokioTimer::new())
        // The watchdog ends slow heads: no timer is needed for each request.
        .header_read_timeout(None)
        // A client that has closed its side still gets its answer; requests that wait watch for that end.
        .half_close(true)
        .max_buf_size(limits.head_max)
        .serve_connection(io, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // Rare events are in a separate set, polled only when one is due.
    let mut rare = FuturesUnordered::new();
    let overdue = watchdog
        .overdue(limits.patience)
        .map(|()| RareEvent::Overdue);
    rare.push(Either::Left(overdue));
    let closing = async {
        tokio::select! {
            () = pipeline.serve.closing.cancelled() => RareEvent::Closing,
            () = watchdog.until_cut() => RareEvent::Cut,
        }
    };
    rare.push(Either::Right(Either::Left(closing)));
    if let Some(certificate) = &peer.certificate {
        let ended = Box::pin(certificate.ended());
        rare.push(Either::Right(Either::Right(
            ended.map(|()| RareEvent::Uncertified),
        )));
    }
    loop {
        tokio::select! {
            biased;
            // The client learns of an error as far as it still reads.
            _ = poll_fn(|cx| S::turn(|| connection.as_mut().poll(cx))) => return,
            Some(event) = rare.next() => match event {
                RareEvent::Overdue | RareEvent::Cut | RareEvent::Uncertified => return,
                RareEvent::Closing if watchdog.phase() != ConnectionPhase::Busy => return,
                RareEvent::Closing => connection.as_mut().graceful_shutdown(),
            },
        }
    }
}

/// The reason why the server ends a connection.
enum RareEvent {
    Overdue,
    Cut,
    Closing,
    /// The client's certificate is not valid any more.
    Uncertified,
}

async fn answer<S: HttpService>(
    request: Request<Incoming>,
    peer: &HttpPeer,
    pipeline: &Pipeline<S>,
    watchdog: &Arc<ConnectionWatchdog>,
) -> Result<Response<Body>, std::convert::Infallible> {
    watchdog.enter(ConnectionPhase::Busy);
    let response = pipeline.answer(request, peer).await;
    // A stream of events may send nothing for any time. The answer to HEAD has its type and no stream.
    let is_stream = response.headers().get(CONTENT_TYPE) == Some(&EVENTS);
    if !is_stream || response.body().is_end_stream() {
        watchdog.enter(ConnectionPhase::Idle);
    }
    let Some(client) = peer.socket else {
        return Ok(response);
    };
    let held = &pipeline.serve.held;
    Ok(response.map(|body| held.counted(body, client, watchdog)))
}
