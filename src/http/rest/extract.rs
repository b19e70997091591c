//! Parts of a request: names in its path, a body of limited size, its caller.

use std::time::Duration;

use axum::{
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use crate::{
    catalog::{Caller, Door},
    http::{answer::HttpProblem, serve::connection::HttpPeer, state::AppState},
};

/// How long the rest of a body that is too large is read.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// The names in a path. One that can't be decoded is empty, and so unknown.
#[derive(Debug)]
pub(in crate::http) struct Name(Option<RawPathParams>);

impl Name {
    pub(in crate::http) fn as_str(&self) -> &str {
        self.at(0)
    }

    /// The second one.
    pub(in crate::http) fn second(&self) -> &str {
        self.at(1)
    }

    /// The third one.
    pub(in crate::http) fn third(&self) -> &str {
        self.at(2)
    }

    /// The one at this place, from 0 on.
    pub(in crate::http) fn at(&self, index: usize) -> &str {
        let mut params = self.0.iter().flat_map(|params| params.iter());
        params.nth(index).map_or("", |(_, value)| value)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        Ok(Self(params.ok()))
    }
}

/// The client as the catalog knows it.
pub(in crate::http) fn caller(peer: &HttpPeer) -> Caller {
    Caller {
        identity: peer.identity.clone(),
        address: peer.socket,
        door: Door::Rest,
        connection: None,
    }
}

/// The whole body, at most `http.body_max` of it, of any content type.
#[derive(Debug)]
pub(in crate::http) struct BodyBytes(pub(in crate::http) Bytes);

impl FromRequest<AppState> for BodyBytes {
    type Rejection = Response;

    async fn from_request(request: Request, shared: &AppState) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        Self::read(&parts, body, shared).await
    }
}

impl BodyBytes {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The answer to a body that is too large or breaks off.
    pub(in crate::http) async fn read<B>(
        parts: &Parts,
        body: B,
        shared: &AppState,
    ) -> Result<Self, Response>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let max = shared.limits.body_max;
        let announced = body.size_hint().lower();
        if announced > max {
            if !parts.headers.contains_key(header::EXPECT) {
                // Boxed, as it is so rarely needed.
                Box::pin(drain(body, shared.limits.body_drain_max)).await;
            }
            return Err(too_large(max));
        }
        read(body, shared).await
    }
}

async fn read<B>(mut body: B, shared: &AppState) -> Result<BodyBytes, Response>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let broken = HttpProblem::new(400, "the body ended early or is not readable");
            broken.into_response()
        })?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let length = (whole.len() + pieces.len() + piece.len()) as u64;
        if length > shared.limits.body_max {
            let rest = shared.limits.body_drain_max.saturating_sub(length);
            Box::pin(drain(body, rest)).await;
            return Err(too_large(shared.limits.body_max));
        }
        // Most bodies come in one piece, which needs no copy.
        if whole.is_empty() && pieces.is_empty() {
            whole = piece;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut whole));
            pieces.extend_from_slice(&piece);
        }
    }
    Ok(BodyBytes(if pieces.is_empty() {
        whole
    } else {
        pieces.freeze()
    }))
}

/// Reads the rest, so that the client has sent everything before it is answered.
async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B, bytes_max: u64) {
    let mut left = bytes_max;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // The answer is the same whether the rest came in time or not.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, all).await;
}

fn too_large(max: u64) -> Response {
    let detail = format!("the body is larger than {max} bytes (http.body_max)");
    let mut response = HttpProblem::new(413, detail).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}
