//! HTTP requests, TCP connections and gRPC calls with a deadline.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Method;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config,
    dial::Dialer,
    error::{OutboundError, RequestStep},
    grpc::{GrpcCall, Http2, Serving},
    http1::{HeadLimits, Http1, ReceivedResponse, SentState},
    networks::Networks,
    pool::{Pool, PoolKey},
    request::{Request, Response},
    resolve::Resolver,
    stream::Stream,
    target::{HostPort, ParsedUrl},
    tls::{Protocol, Tls, Verification},
};
use crate::telemetry::{IntCounterVec, Metrics};

/// A connection in the pool.
#[derive(Debug)]
enum PooledConnection {
    Http1(Box<Http1>),
    Http2(Box<Http2>),
}

#[derive(Debug)]
struct ClientState {
    dialer: Dialer,
    tls: Tls,
    limits: HeadLimits,
    pool: Pool<PooledConnection>,
    sweep_pause: Duration,
    connections: IntCounterVec,
}

/// Sends requests. A cheap, cloneable handle; all clones share one pool.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<ClientState>,
}

impl Client {
    /// A client with an empty pool.
    ///
    /// # Errors
    /// A file of `outbound.tls` can't be used.
    pub fn new(config: &Config, metrics: &Metrics) -> Result<Self, OutboundError> {
        let size = metrics.gauge(
            "musterd_outbound_pool_connections",
            "Idle connections kept for later requests to checked services and webhooks.",
        );
        let connections = metrics.counters(
            "musterd_outbound_connections_total",
            "Connections that outbound requests used: new ones, and reused ones of the pool.",
            &["origin"],
        );
        let inner = ClientState {
            dialer: Dialer {
                networks: Networks::new(&config.allow, &config.deny),
                resolver: Resolver::new(
                    *config.resolved_ttl,
                    *config.resolved_max,
                    *config.resolving_max,
                ),
            },
            tls: Tls::new(&config.tls)?,
            limits: HeadLimits {
                head_max: usize::try_from(config.head_max.as_u64()).unwrap_or(usize::MAX),
                headers_max: config.headers_max.get(),
            },
            pool: Pool::new(*config.pool_max, *config.pool_idle_max, size),
            sweep_pause: (config.pool_idle_max.get() / 4).max(Duration::from_secs(1)),
            connections,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Closes connections that were idle for too long; at `stop`, all idle ones.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(self.inner.sweep_pause) => self.inner.pool.sweep(),
            }
        }
        self.inner.pool.clear();
    }

    /// Sends a request and reads the response, at most `body_max` bytes of its body.
    ///
    /// If a pooled connection turns out to be closed, the request is sent once more over a new one. It is not
    /// if the peer may have acted on it and the method is not idempotent.
    ///
    /// # Errors
    /// There is no complete response. A response with any code is not an error.
    pub async fn send(
        &self,
        request: &Request,
        deadline: Instant,
        body_max: usize,
    ) -> Result<Response, OutboundError> {
        let started = Instant::now();
        let parsed = ParsedUrl::parse(&request.url)?;
        let message = request.message(&parsed)?;
        let target = &parsed.target;
        let verification = verification(target.tls, request.tls_skip_verify);
        let addresses = self.addresses(target, deadline).await?;
        while let Some((key, PooledConnection::Http1(mut pooled))) =
            self.pooled(&addresses, target, verification, Protocol::Http1)
        {
            if !pooled.is_alive().await {
                continue;
            }
            self.inner.connections.with_label_values(&["pool"]).inc();
            match pooled.exchange(message.clone(), deadline, body_max).await {
                Ok(received) => return Ok(self.answer(key, pooled, received, started)),
                Err(failed) if is_safe(&request.method, failed.sent) => break,
                Err(failed) => return Err(failed.error),
            }
        }
        let (key, stream) = self
            .connect(&addresses, target, verification, Protocol::Http1, deadline)
            .await?;
        let mut fresh = Box::new(Http1::open(stream, self.inner.limits).await?);
        let exchanged = fresh.exchange(message, deadline, body_max).await;
        let received = exchanged.map_err(|failed| failed.error)?;
        Ok(self.answer(key, fresh, received, started))
    }

    /// Connects and closes at once.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect_tcp(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<(), OutboundError> {
        let dialer = &self.inner.dialer;
        let addresses = dialer.addresses(host, port, deadline).await?;
        let (at, stream) = dialer.connect(&addresses, deadline).await?;
        self.inner.connections.with_label_values(&["new"]).inc();
        // Closes with a reset: otherwise thousands of probes a second would use up the local ports.
        stream
            .set_zero_linger()
            .map_err(|source| OutboundError::Connect { at, source })
    }

    /// Asks `grpc.health.v1.Health/Check`.
    ///
    /// # Errors
    /// There is no response, or its gRPC status is not 0.
    pub async fn grpc_health(
        &self,
        call: &GrpcCall,
        deadline: Instant,
    ) -> Result<Serving, OutboundError> {
        let target = HostPort {
            host: call.host.clone(),
            port: call.port,
            tls: call.tls,
        };
        let verification = verification(call.tls, call.tls_skip_verify);
        let addresses = self.addresses(&target, deadline).await?;
        while let Some((key, PooledConnection::Http2(mut pooled))) =
            self.pooled(&addresses, &target, verification, Protocol::Http2)
        {
            if !pooled.is_alive() {
                continue;
            }
            self.inner.connections.with_label_values(&["pool"]).inc();
            match pooled.check(call, deadline).await {
                Err(OutboundError::Broken(_)) => break,
                answered => return self.served(key, pooled, answered),
            }
        }
        let (key, stream) = self
            .connect(&addresses, &target, verification, Protocol::Http2, deadline)
            .await?;
        let mut fresh = Box::new(Http2::open(stream, deadline).await?);
        let answered = fresh.check(call, deadline).await;
        self.served(key, fresh, answered)
    }

    /// What resolves and checks addresses.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }

    /// A new connection that is not for the pool.
    pub(super) async fn fresh(
        &self,
        target: &HostPort,
        tls_skip_verify: bool,
        protocol: Protocol,
        deadline: Instant,
    ) -> Result<Stream, OutboundError> {
        let verification = verification(target.tls, tls_skip_verify);
        let addresses = self.addresses(target, deadline).await?;
        let connected = self.connect(&addresses, target, verification, protocol, deadline);
        Ok(connected.await?.1)
    }

    async fn addresses(
        &self,
        target: &HostPort,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, OutboundError> {
        let dialer = &self.inner.dialer;
        dialer.addresses(&target.host, target.port, deadline).await
    }

    fn pooled(
        &self,
        addresses: &[SocketAddr],
        target: &HostPort,
        verification: Verification,
        protocol: Protocol,
    ) -> Option<(PoolKey, PooledConnection)> {
        addresses.iter().find_map(|at| {
            let key = key(*at, target, verification, protocol);
            let open = self.inner.pool.take(&key)?;
            Some((key, open))
        })
    }

    async fn connect(
        &self,
        addresses: &[SocketAddr],
        target: &HostPort,
        verification: Verification,
        protocol: Protocol,
        deadline: Instant,
    ) -> Result<(PoolKey, Stream), OutboundError> {
        let inner = &self.inner;
        let (at, stream) = inner.dialer.connect(addresses, deadline).await?;
        inner.connections.with_label_values(&["new"]).inc();
        let stream = self
            .wrap(stream, target, verification, protocol, deadline)
            .await?;
        Ok((key(at, target, verification, protocol), stream))
    }

    async fn wrap(
        &self,
        stream: TcpStream,
        target: &HostPort,
        verification: Verification,
        protocol: Protocol,
        deadline: Instant,
    ) -> Result<Stream, OutboundError> {
        let wrapping = self
            .inner
            .tls
            .wrap(stream, &target.host, verification, protocol);
        timeout_at(deadline, wrapping)
            .await
            .map_err(|_| OutboundError::Deadline(RequestStep::Connecting))?
    }

    fn answer(
        &self,
        key: PoolKey,
        used: Box<Http1>,
        received: ReceivedResponse,
        started: Instant,
    ) -> Response {
        if received.reusable {
            self.inner.pool.put(key, PooledConnection::Http1(used));
        }
        Response {
            status: received.status,
            headers: received.headers,
            body: received.body,
            truncated: received.truncated,
            latency: started.elapsed(),
        }
    }

    fn served(
        &self,
        key: PoolKey,
        used: Box<Http2>,
        answered: Result<Serving, OutboundError>,
    ) -> Result<Serving, OutboundError> {
        let in_order = matches!(answered, Ok(_) | Err(OutboundError::Grpc { .. }));
        if in_order && used.is_alive() {
            self.inner.pool.put(key, PooledConnection::Http2(used));
        }
        answered
    }
}

/// True when a request that failed on a pooled connection may be sent again.
fn is_safe(method: &Method, sent: SentState) -> bool {
    match sent {
        SentState::Unsent => true,
        SentState::Unanswered => method.is_idempotent(),
        SentState::Final => false,
    }
}

fn verification(tls: bool, skip_verify: bool) -> Verification {
    match (tls, skip_verify) {
        (false, _) => Verification::Plain,
        (true, false) => Verification::Verified,
        (true, true) => Verification::Unverified,
    }
}

fn key(
    at: SocketAddr,
    target: &HostPort,
    verification: Verification,
    protocol: Protocol,
) -> PoolKey {
    let host = (verification != Verification::Plain).then(|| target.host.clone());
    PoolKey {
        at,
        verification,
        host,
        protocol,
    }
}

#[cfg(test)]
mod tests;
