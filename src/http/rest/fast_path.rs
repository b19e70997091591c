//! The requests that make up nearly all of the traffic, answered past the router: a plain discovery,
//! a heartbeat, a registration.
//!
//! Only what is ordinary in every way is known here. All else is left to the router, whose endpoints
//! call the same functions, so that nobody can tell by an answer which way it came.

use axum::{
    http::{Method, Request, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body::Body;

use super::{extract::Text, services};
use crate::http::{serve::metrics::MetricsByPath, state::Shared};

/// What an ordinary request asks for; names are where they are in its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum FastPath {
    /// The instances of a service, or the healthy ones alone.
    Discover { healthy_only: bool },
    /// A sign of life.
    Heartbeat,
    /// A registration.
    Register,
}

const SERVICES: &str = "/services/";
const DISCOVER: &str = "/services/discover/";
const HEARTBEAT: &str = "/heartbeat";
const REGISTER: &str = "/services/register";

impl FastPath {
    /// None for a request that is out of the ordinary.
    pub(in crate::http) fn of<B>(request: &Request<B>) -> Option<Self> {
        let (path, query) = (request.uri().path(), request.uri().query());
        let quick = if *request.method() == Method::GET {
            is_plain(path.strip_prefix(DISCOVER)?).then_some(())?;
            let healthy_only = match query {
                None | Some("healthy_only=true") => true,
                Some("healthy_only=false") => false,
                Some(_) => return None,
            };
            Self::Discover { healthy_only }
        } else if *request.method() != Method::POST {
            return None;
        } else if path == REGISTER {
            Self::Register
        } else {
            is_plain(beating(path)?).then_some(Self::Heartbeat)?
        };
        // A page of another origin is told more.
        let from_page = request.headers().contains_key(header::ORIGIN);
        (!from_page).then_some(quick)
    }

    /// Does what is asked for.
    pub(in crate::http) async fn answer<B>(self, shared: &Shared, request: Request<B>) -> Response
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (path, query) = (request.uri().path(), request.uri().query());
        match self {
            Self::Discover { healthy_only } => {
                let name = path.strip_prefix(DISCOVER).unwrap_or_default();
                shared.discovered_plain(name, healthy_only)
            }
            Self::Heartbeat => {
                let id = beating(path).unwrap_or_default();
                services::beat(shared, id, query).await.into_response()
            }
            Self::Register => {
                let (parts, body) = request.into_parts();
                match Text::read(&parts, body, shared).await {
                    Ok(Text(body)) => services::enrol(shared, parts.uri.query(), &body)
                        .await
                        .into_response(),
                    Err(refused) => refused,
                }
            }
        }
    }
}

/// Whose heartbeat a path is.
fn beating(path: &str) -> Option<&str> {
    let id = path.strip_prefix(SERVICES)?.strip_suffix(HEARTBEAT)?;
    // These have paths of their own.
    (!matches!(id, "discover" | "healthy")).then_some(id)
}

/// True for a name that is one segment of a path and stands for itself.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.bytes().any(|byte| matches!(byte, b'/' | b'%'))
}

/// Where the rows are that these requests are counted in.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct Places {
    discover: usize,
    heartbeat: usize,
    register: usize,
}

impl Places {
    pub(in crate::http) fn new(rows: &MetricsByPath) -> Self {
        Self {
            discover: rows.place("/services/discover/a"),
            heartbeat: rows.place("/services/a/heartbeat"),
            register: rows.place(REGISTER),
        }
    }

    pub(in crate::http) fn of(self, quick: FastPath) -> usize {
        match quick {
            FastPath::Discover { .. } => self.discover,
            FastPath::Heartbeat => self.heartbeat,
            FastPath::Register => self.register,
        }
    }
}

#[cfg(test)]
mod tests;
