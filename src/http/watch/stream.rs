//! Watching by server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream::unfold};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{
    feed::Feed,
    frames::Form,
    gate::{Kind, Permit},
    reader::{Scope, Start},
};
use crate::{
    api::{self, Problem, Seen, schema},
    http::{
        answer::Answer,
        serve::connection::{EVENTS, Peer},
        state::Shared,
    },
    model::ServiceName,
};

/// Follow changes as server-sent events named snapshot, event and resync.
#[utoipa::path(
    get, path = "/watch", tag = "watching",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Only the changes of these services; none means all"),
        ("since" = Option<String>, Query, description = "Go on behind this cursor"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; wins over `since`"),
    ),
    responses(
        (status = 200, description = "A stream; the id of each message is the cursor to go on from", content_type = "text/event-stream", body = String),
        (status = 422, body = schema::Problem, content_type = "application/problem+json"),
        (status = 429, body = schema::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn watch(
    State(shared): State<Shared>,
    peer: Peer,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Answer {
    let wanted = Wanted::read(&shared, &headers, query.as_deref())?;
    let ticket = match shared.watching.gate.enter(peer.address, Kind::Stream) {
        Ok(ticket) => ticket,
        Err(refused) => return Ok(refused.into_response()),
    };
    let watcher = Watcher {
        feed: Feed::new(shared.clone(), Form::Sse, wanted.scope, wanted.start),
        silence: Silence::new(shared.config.watch.keep_alive.get()),
        closing: shared.closing.clone(),
        peer,
        _ticket: ticket,
    };
    let pieces = unfold(watcher, |mut watcher| async {
        let bytes = watcher.next().await?;
        Some((bytes, watcher))
    });
    Ok(sse(pieces))
}

/// What a watcher asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) scope: Scope,
    pub(super) start: Start,
}

impl Wanted {
    pub(super) fn read(
        shared: &Shared,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Self, Problem> {
        let mut since = None;
        for (key, value) in api::pairs(query.unwrap_or_default()) {
            if key == "since" {
                since = Some(Seen::parse(&value));
            }
        }
        let last_id = headers.get("last-event-id");
        let last_id = last_id.map(|value| value.to_str().map_or(Seen::Unreadable, Seen::parse));
        Ok(Self {
            scope: scope(query, shared.config.watch.services_max.get())?,
            start: last_id.or(since).map_or(Start::Fresh, Start::Behind),
        })
    }
}

/// The services that a query names; a name that no service can have is one that never changes.
pub(super) fn scope(query: Option<&str>, services_max: usize) -> Result<Scope, Problem> {
    let mut names = None;
    for (key, value) in api::pairs(query.unwrap_or_default()) {
        if key != "service" {
            continue;
        }
        if value == "*" {
            return Ok(Scope::All);
        }
        let names = names.get_or_insert_with(Vec::new);
        if names.len() == services_max {
            let message = format!("at most {services_max} are allowed (http.watch.services_max)");
            return Err(Problem::field("service", message));
        }
        names.push(ServiceName::parse(&value));
    }
    let names = names.map(|names| names.into_iter().filter_map(Result::ok));
    Ok(names.map_or(Scope::All, |names| Scope::Services(names.collect())))
}

/// A response that is a stream of server-sent events.
pub(in crate::http) fn sse(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    let set = [
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that know it pass everything on at once.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Shows at a fixed pace that a stream is alive.
#[derive(Debug)]
pub(in crate::http) struct Silence(Interval);

impl Silence {
    pub(in crate::http) fn new(period: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(ticks)
    }

    /// Waits until it is time for a comment. Cancel safe.
    pub(in crate::http) async fn comment(&mut self) -> Bytes {
        self.tick().await;
        Bytes::from_static(b": still here\n\n")
    }

    /// Waits until it is time for a sign of life. Cancel safe.
    pub(super) async fn tick(&mut self) {
        self.0.tick().await;
    }
}

#[derive(Debug)]
struct Watcher {
    feed: Feed,
    silence: Silence,
    closing: CancellationToken,
    peer: Peer,
    _ticket: Permit,
}

impl Watcher {
    /// Look, act, wait; told to stop, it tells what has happened and ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.feed.next() {
                return Some(piece.bytes);
            }
            if self.feed.is_closed() {
                return None;
            }
            tokio::select! {
                () = self.feed.changed() => {}
                () = self.closing.cancelled() => self.feed.close(),
                () = self.peer.gone() => self.feed.close(),
                comment = self.silence.comment() => return Some(comment),
            }
        }
    }
}
