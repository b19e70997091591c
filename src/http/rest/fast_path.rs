//! The requests that make up nearly all of the traffic, answered without the router: a plain discovery,
//! a heartbeat, a registration.
//!
//! One of them costs 0.66 of the CPU time that it costs by way of the router. The router gets each request
//! that is unusual in any way: by its query, its path or a header of a web page. Its endpoints call the same
//! functions, so that both ways give the same answer.

use axum::{
    http::{Method, Request, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Body;

use super::{
    admission::{self, AccessNeed},
    extract::{BodyBytes, caller},
    routes::{Action, ApiResource},
    services,
};
use crate::http::{
    answer::HttpProblem,
    serve::{connection::HttpPeer, metrics::MetricsByPath},
    state::AppState,
};

/// A plain request; names stay in its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum FastPath {
    /// The instances of a service, or the healthy ones alone.
    Discover { healthy_only: bool },
    /// A heartbeat.
    Heartbeat,
    /// A registration.
    Register,
}

const SERVICES: &str = "/services/";
const DISCOVER: &str = "/services/discover/";
const HEARTBEAT: &str = "/heartbeat";
const REGISTER: &str = "/services/register";

impl FastPath {
    /// None for a request that the router answers.
    pub(in crate::http) fn of<B>(request: &Request<B>) -> Option<Self> {
        let (path, query) = (request.uri().path(), request.uri().query());
        let fast = if *request.method() == Method::GET {
            is_plain(path.strip_prefix(DISCOVER)?).then_some(())?;
            let healthy_only = match query {
                None | Some("healthy_only=true") => true,
                Some("healthy_only=false") => false,
                Some(_) => return None,
            };
            Self::Discover { healthy_only }
        } else if *request.method() != Method::POST {
            return None;
        } else {
            only_incarnation(query).then_some(())?;
            if path == REGISTER {
                Self::Register
            } else {
                is_plain(heartbeat_of(path)?).then_some(Self::Heartbeat)?
            }
        };
        // The answer to a page of another origin has further headers.
        let from_page = request.headers().contains_key(header::ORIGIN);
        (!from_page).then_some(fast)
    }

    /// Answers it.
    pub(in crate::http) async fn answer<B>(
        self,
        shared: &AppState,
        request: Request<B>,
        peer: &HttpPeer,
    ) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Err(refused) = self.permit(shared, peer) {
            return refused.into_response();
        }
        let (path, query) = (request.uri().path(), request.uri().query());
        match self {
            Self::Discover { healthy_only } => {
                let name = path.strip_prefix(DISCOVER).unwrap_or_default();
                shared.discovered_plain(&caller(peer), name, healthy_only)
            }
            Self::Heartbeat => {
                let id = heartbeat_of(path).unwrap_or_default();
                services::heartbeat_of(shared, &caller(peer), id, query)
                    .await
                    .into_response()
            }
            Self::Register => {
                let (parts, body) = request.into_parts();
                match BodyBytes::read(&parts, body, shared).await {
                    Ok(BodyBytes(body)) => {
                        services::register_from(shared, &caller(peer), parts.uri.query(), &body)
                            .await
                            .into_response()
                    }
                    Err(refused) => refused,
                }
            }
        }
    }
}

impl FastPath {
    /// What the router asks in front of the same routes.
    fn permit(self, shared: &AppState, peer: &HttpPeer) -> Result<(), HttpProblem> {
        if !shared.identities.is_on() {
            return Ok(());
        }
        let action = match self {
            Self::Discover { .. } => Action::Read,
            Self::Heartbeat | Self::Register => Action::Write,
        };
        let needs = AccessNeed::of((action, ApiResource::Instance));
        admission::permit(&peer.identity, needs)
    }
}

/// The id in the path of a heartbeat.
fn heartbeat_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix(SERVICES)?.strip_suffix(HEARTBEAT)?;
    // These are paths of other endpoints.
    (!matches!(id, "discover" | "healthy")).then_some(id)
}

/// True for a query that has no other parameter.
fn only_incarnation(query: Option<&str>) -> bool {
    query.is_none_or(|query| {
        let value = query.strip_prefix("incarnation=");
        value.is_some_and(|value| !value.contains('&'))
    })
}

/// True for a name that is one segment of a path and is not encoded.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.bytes().any(|byte| matches!(byte, b'/' | b'%'))
}

/// Where these requests are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct FastRoutes {
    discover: usize,
    heartbeat: usize,
    register: usize,
}

impl FastRoutes {
    pub(super) fn new(metrics: &MetricsByPath) -> Self {
        Self {
            discover: metrics.index("/services/discover/a"),
            heartbeat: metrics.index("/services/a/heartbeat"),
            register: metrics.index(REGISTER),
        }
    }

    pub(super) fn index(self, fast: FastPath) -> usize {
        match fast {
            FastPath::Discover { .. } => self.discover,
            FastPath::Heartbeat => self.heartbeat,
            FastPath::Register => self.register,
        }
    }
}

#[cfg(test)]
mod tests;
