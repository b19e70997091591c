//! Targets for Prometheus.

use std::{convert::Infallible, ops::Bound, sync::Arc, vec::IntoIter};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::header,
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::{
    api::{self, TargetQuery, TargetWriter},
    http::{
        answer::{EndpointResult, json},
        problems::Invalid,
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::ServiceId,
    registry::View,
};

/// So much of the list is encoded at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The registered instances as targets, for `http_sd_configs` of Prometheus.
#[utoipa::path(
    get, path = "/v1/sd/prometheus",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Only instances of these services"),
        ("tag" = Option<Vec<String>>, Query, description = "All of these"),
        ("zone" = Option<String>, Query),
        ("health" = Option<String>, Query, description = "any (default), healthy, unhealthy, starting, stopping or unknown"),
    ),
    responses((status = 200, body = Vec<api::TargetGroupJson>), Invalid)
)]
pub(in crate::http) async fn targets(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let wanted = TargetQuery::from_query(query.as_deref())?;
    let snapshot = match wanted.services.as_slice() {
        [] => shared.registry.snapshot(),
        names => shared.registry.snapshot_of(names),
    };
    let snapshot = shared.sight(&peer).of(snapshot);
    let views: Vec<_> = snapshot
        .services
        .into_iter()
        .map(|(_, view)| view)
        .collect();
    let mut pieces = TargetPieces {
        wanted,
        writer: TargetWriter::default(),
        views: views.into_iter(),
        within: None,
    };
    let (first, more) = pieces.next();
    if !more {
        return Ok(json(first));
    }
    let rest = stream::unfold(Some(pieces), async |left| {
        let mut pieces = left?;
        let (bytes, more) = pieces.next();
        Some((bytes, more.then_some(pieces)))
    });
    let body = stream::iter([first]).chain(rest).map(Ok::<_, Infallible>);
    let mut response: Response = json(Bytes::new());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from_stream(body);
    Ok(response)
}

/// The list, piece by piece.
#[derive(Debug)]
struct TargetPieces {
    wanted: TargetQuery,
    writer: TargetWriter,
    views: IntoIter<Arc<View>>,
    /// Behind this instance of a service.
    within: Option<(Arc<View>, Option<ServiceId>)>,
}

impl TargetPieces {
    /// The next piece, and whether more follow. Many instances that are no targets end a piece too.
    fn next(&mut self) -> (Bytes, bool) {
        let mut out = Vec::with_capacity(4096);
        let mut looked = 0;
        while let Some((view, after)) = self.within.take().or_else(|| self.begin()) {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            for (id, instance) in view.instances.range((from, Bound::Unbounded)) {
                if self.wanted.matches(instance) {
                    self.writer.target(&mut out, instance);
                }
                looked += size_of::<usize>();
                if out.len() + looked >= PIECE_BYTES {
                    self.within = Some((Arc::clone(&view), Some(id.clone())));
                    return (out.into(), true);
                }
            }
        }
        self.writer.end(&mut out);
        (out.into(), false)
    }

    fn begin(&mut self) -> Option<(Arc<View>, Option<ServiceId>)> {
        Some((self.views.next()?, None))
    }
}

#[cfg(test)]
mod tests;
