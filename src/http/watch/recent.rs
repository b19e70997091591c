//! The newest events, or those after a cursor, as one answer.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::{
    limit::TooManyWatchers,
    poll::LongPoll,
    reader::{ChangeSource, Page, Scope, SeenScope, place, without_canary},
    snapshot::SnapshotPieces,
    stream::scope,
};
use crate::{
    api::{self, FieldError, Problem, Seen},
    http::{
        answer::{EndpointResult, json},
        problems::{Invalid, TooMany},
        serve::connection::HttpPeer,
        state::AppState,
    },
    model::{Event, Revision},
    registry::{Compacted, Registry},
};

/// How many events are answered without a `limit`.
const LIMIT_DEFAULT: usize = 100;
/// How often a read is repeated when the log moved on meanwhile.
const TRIES_MAX: u64 = 16;
/// A snapshot is encoded in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The newest events, or those after a cursor; newest last.
#[utoipa::path(
    get, path = "/events",
    params(
        ("since" = Option<String>, Query, description = "A cursor or a revision: the events behind it, oldest first; without it the newest ones"),
        ("service" = Option<Vec<String>>, Query, description = "Only the events of these services"),
        ("limit" = Option<usize>, Query, description = "At most so many, at least 1, default 100"),
        ("wait" = Option<String>, Query, description = "With `since`: wait so long for an event when there is none"),
        ("canary" = Option<bool>, Query, description = "false leaves out the events of the migration's canary; the cursor still moves"),
    ),
    responses(
        (status = 200, body = api::EventsJson, headers(("X-Muster-Index" = String, description = "The cursor to continue from"))),
        Invalid, TooMany,
    )
)]
pub(in crate::http) async fn events(
    State(shared): State<AppState>,
    peer: HttpPeer,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let wanted = EventsQuery::read(&shared, query.as_deref())?;
    let scope = SeenScope {
        scope: wanted.scope.clone(),
        sight: shared.sight(&peer),
    };
    let source = ChangeSource::new(&shared.registry, scope.clone());
    let Some(seen) = wanted.since else {
        let page = newest(&shared.registry, &source, wanted.limit);
        return Ok(answer(&shared, &page));
    };
    let shown = scope.scope.to_string();
    let begin = |wait| LongPoll::begin(&shared, &peer, &shown, wait);
    match since(&shared, source, seen, &wanted, begin).await {
        Ok(Ok(page)) => Ok(answer(&shared, &page)),
        Ok(Err(EventsLost)) => Ok(start_over(&shared, &scope)),
        Err(refused) => Ok(refused.into_response()),
    }
}

/// The caller missed events, or its cursor is not one of this log.
#[derive(Debug)]
struct EventsLost;

impl From<Compacted> for EventsLost {
    fn from(_: Compacted) -> Self {
        Self
    }
}

/// The events after the cursor; waits for the first one when there is none and the caller asks for that.
async fn since(
    shared: &AppState,
    mut source: ChangeSource,
    seen: Seen,
    wanted: &EventsQuery,
    begin: impl Fn(Option<Duration>) -> Result<LongPoll, TooManyWatchers>,
) -> Result<Result<Page, EventsLost>, TooManyWatchers> {
    let Some(mut cursor) = place(&shared.registry, seen) else {
        return Ok(Err(EventsLost));
    };
    let mut waiting = None;
    loop {
        let page = match source.read(&shared.registry, cursor, wanted.limit) {
            Ok(page) => page,
            Err(compacted) => return Ok(Err(compacted.into())),
        };
        if !page.events.is_empty() {
            return Ok(Ok(page));
        }
        if source.leaves_out() && page.until > cursor {
            cursor = page.until;
            continue;
        }
        if wanted.wait.is_none() {
            return Ok(Ok(page));
        }
        if waiting.is_none() {
            waiting = Some(begin(wanted.wait)?);
        }
        let Some(waiting) = &waiting else {
            return Ok(Ok(page));
        };
        if !waiting.changed(shared, source.changed()).await {
            return Ok(Ok(page));
        }
    }
}

/// The newest events of a scope that are still in the log.
fn newest(registry: &Registry, source: &ChangeSource, limit: usize) -> Page {
    for tries in 0..TRIES_MAX {
        // After the oldest, and further after it at each try, since the log moves on.
        let oldest = Revision(registry.oldest().0.saturating_sub(1) + (tries << tries));
        let from = match source.is_whole() {
            true => {
                let last = registry.newest().0.saturating_sub(limit as u64);
                oldest.max(Revision(last))
            }
            // How far back there are enough of them is not known.
            false => oldest,
        };
        if let Ok(mut page) = source.read(registry, from, usize::MAX) {
            let surplus = page.events.len().saturating_sub(limit);
            page.events.drain(..surplus);
            return page;
        }
    }
    Page {
        events: Vec::new(),
        until: registry.newest(),
    }
}

fn answer(shared: &AppState, page: &Page) -> Response {
    let cursor = shared.registry.cursor(page.until);
    let encode = |event: &Arc<Event>| api::event(event, |one| shared.last_heartbeat(one));
    let body = api::events(cursor, page.events.iter().map(encode));
    shared.with_index(json(body), page.until)
}

/// A resync and the snapshot to continue from, encoded while it is sent.
fn start_over(shared: &AppState, SeenScope { scope, sight }: &SeenScope) -> Response {
    shared.watching.resyncs.inc();
    let (snapshot, with_routes) = match scope {
        Scope::All => (shared.registry.snapshot(), true),
        Scope::AllButCanary => (without_canary(shared.registry.snapshot()), true),
        Scope::Services(names) => (shared.registry.snapshot_of(names), false),
    };
    let snapshot = sight.of(snapshot);
    let revision = snapshot.revision;
    let cursor = shared.registry.cursor(revision);
    let pieces = if with_routes {
        SnapshotPieces::with_routes(cursor, snapshot)
    } else {
        SnapshotPieces::without_routes(cursor, snapshot)
    };
    let (head, tail) = (api::events_lost(cursor), b"}");
    let response = sent_in_pieces(shared, head.into(), pieces, tail);
    shared.with_index(response, revision)
}

/// A snapshot between a head and a tail, encoded while it is sent.
pub(in crate::http) fn sent_in_pieces(
    shared: &AppState,
    head: Bytes,
    pieces: SnapshotPieces,
    tail: &'static [u8],
) -> Response {
    let head = stream::iter((!head.is_empty()).then_some(head));
    let body = stream::unfold(Some((pieces, shared.clone())), move |left| async move {
        let (mut pieces, shared) = left?;
        let mut bytes = Vec::with_capacity(PIECE_BYTES + 4096);
        let more = pieces.fill(&mut bytes, PIECE_BYTES, |one| shared.last_heartbeat(one));
        if !more {
            bytes.extend_from_slice(tail);
        }
        Some((Bytes::from(bytes), more.then_some((pieces, shared))))
    });
    let body = head.chain(body).fuse();
    let body = body.map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[derive(Debug)]
struct EventsQuery {
    scope: Scope,
    since: Option<Seen>,
    limit: usize,
    wait: Option<Duration>,
}

impl EventsQuery {
    fn read(shared: &AppState, query: Option<&str>) -> Result<Self, Problem> {
        let config = &shared.config.watch;
        let mut errors = Vec::new();
        let mut wanted = Self {
            scope: Scope::All,
            since: None,
            limit: LIMIT_DEFAULT.min(config.events_max.get()),
            wait: None,
        };
        match scope(query, config.services_max.get()) {
            Ok(scope) => wanted.scope = scope,
            Err(problem) => errors.extend(problem.errors),
        }
        for (key, value) in api::pairs(query.unwrap_or_default()) {
            let read = match &*key {
                "since" => {
                    wanted.since = Some(Seen::parse(&value));
                    Ok(())
                }
                "limit" => api::limit(&value)
                    .map(|limit| wanted.limit = limit.min(config.events_max.get())),
                "wait" => api::wait(&value).map(|wait| wanted.wait = Some(wait)),
                _ => Ok(()),
            };
            if let Err(message) = read {
                let field = key.into_owned();
                errors.push(FieldError { field, message });
            }
        }
        if errors.is_empty() {
            Ok(wanted)
        } else {
            Err(Problem::invalid(errors))
        }
    }
}
