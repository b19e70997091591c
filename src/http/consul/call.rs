//! A request as the endpoints of this door take it.

use std::borrow::Cow;

use axum::{
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{Method, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::BodyExt;

use super::{
    answer::{ConsulError, text},
    fields::BodyFields,
    query::ConsulQuery,
    state::ConsulState,
};
use crate::{
    catalog::{Caller, Door, Identity},
    http::{rest::BodyBytes, serve::connection::HttpPeer},
};

/// A request whose body was read.
#[derive(Debug)]
pub(in crate::http) struct ConsulCall {
    pub(in crate::http) peer: HttpPeer,
    pub(in crate::http) method: Method,
    pub(in crate::http) uri_path: Box<str>,
    parameters: Vec<String>,
    pub(in crate::http) query: ConsulQuery,
    pub(in crate::http) body: Bytes,
}

impl ConsulCall {
    /// The part of the path that the route leaves open; one that can't be decoded is empty, and so unknown.
    pub(in crate::http) fn name(&self) -> &str {
        self.parameters.first().map_or("", String::as_str)
    }

    /// The client as the catalog knows it.
    pub(in crate::http) fn caller(&self) -> Caller {
        Caller {
            identity: self.peer.identity.clone(),
            address: self.peer.socket,
            door: Door::Consul,
            connection: None,
        }
    }

    /// Tells apart the answers of clients that see different things.
    pub(in crate::http) fn reader(&self) -> Cow<'_, str> {
        match &self.peer.identity {
            Identity::Anonymous => Cow::Borrowed(""),
            Identity::Daemon => Cow::Borrowed("*"),
            Identity::Of(principal) => Cow::Owned(principal.name().to_string()),
        }
    }

    /// The body as an object.
    ///
    /// # Errors
    /// It is not one.
    pub(in crate::http) fn fields(&self) -> Result<BodyFields, ConsulError> {
        BodyFields::read(&self.body)
    }
}

impl FromRequest<ConsulState> for ConsulCall {
    type Rejection = Response;

    async fn from_request(request: Request, state: &ConsulState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let query = ConsulQuery::read(parts.uri.query(), &state.config.datacenter);
        let query = query.map_err(IntoResponse::into_response)?;
        let Ok(peer) = HttpPeer::from_request_parts(&mut parts, state).await;
        let parameters = RawPathParams::from_request_parts(&mut parts, state).await;
        let parameters = parameters.iter().flat_map(|all| all.iter());
        let parameters = parameters.map(|(_, value)| value.to_owned()).collect();
        let body = match BodyBytes::read(&parts, body, &state.app).await {
            Ok(BodyBytes(body)) => body,
            Err(refused) => return Err(as_text(refused).await),
        };
        Ok(Self {
            peer,
            method: parts.method,
            uri_path: parts.uri.path().into(),
            parameters,
            query,
            body,
        })
    }
}

/// A problem of the other doors as text, with the headers that end the connection.
pub(super) async fn as_text(refused: Response) -> Response {
    let (mut parts, body) = refused.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let problem: serde_json::Value =
        serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("the request failed");
    let answer = text(parts.status.as_u16(), detail);
    let (own, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.extend(own.headers);
    Response::from_parts(parts, body)
}
