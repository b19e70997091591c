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
    feed::WatchFeed,
    frames::Form,
    limit::{Permit, WatcherKind},
    reader::{Scope, SeenScope, WatchStart},
};
use crate::{
    api::{self, Problem, Seen},
    http::{
        answer::EndpointResult,
        problems::{Invalid, TooMany},
        serve::connection::{EVENTS, HttpPeer},
        state::AppState,
    },
    model::{CANARY, ServiceName},
};

/// Follow changes as server-sent events named snapshot, event and resync.
#[utoipa::path(
    get, path = "/watch",
    params(
        ("service" = Option<Vec<String>>, Query, description = "Only the changes of these services; none means all"),
        ("since" = Option<String>, Query, description = "Continue after this cursor"),
        ("canary" = Option<bool>, Query, description = "false leaves out the migration's canary; the cursor still moves"),
        ("view" = Option<String>, Query, description = "full (default), or summary: the snapshot has counts instead of instances, and messages named summaries have those of services that changed; always begins with a snapshot"),
        ("token" = Option<String>, Query, description = "The caller's token, for clients that can send no header"),
        ("ticket" = Option<String>, Query, description = "The same with a ticket of POST /auth/ticket"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; wins over `since`"),
    ),
    responses(
        (status = 200, description = "A stream; the id of each message is the cursor to continue from", content_type = "text/event-stream", body = String),
        Invalid, TooMany,
    )
)]
pub(in crate::http) async fn watch(
    State(shared): State<AppState>,
    peer: HttpPeer,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let wanted = WatchQuery::read(&shared, &headers, query.as_deref())?;
    let shown = wanted.scope.to_string();
    let permit = match shared.enter_watcher(&peer, WatcherKind::Stream, &shown) {
        Ok(permit) => permit,
        Err(refused) => return Ok(refused.into_response()),
    };
    let scope = SeenScope {
        scope: wanted.scope,
        sight: shared.sight(&peer),
    };
    let start = match wanted.in_short {
        true => WatchStart::Fresh,
        false => wanted.start,
    };
    let feed = WatchFeed::new(shared.clone(), Form::Sse, scope, start, permit.entry());
    let watcher = EventStream {
        feed: match wanted.in_short {
            true => feed.in_short(),
            false => feed,
        },
        silence: Silence::new(shared.config.watch.keep_alive.get()),
        closing: shared.closing.clone(),
        peer,
        _permit: permit,
    };
    let pieces = unfold(watcher, |mut watcher| async {
        let bytes = watcher.next().await?;
        Some((bytes, watcher))
    });
    Ok(sse(pieces))
}

/// The parameters of a watcher.
#[derive(Debug)]
pub(super) struct WatchQuery {
    pub(super) scope: Scope,
    pub(super) start: WatchStart,
    /// Whether services are summed up.
    pub(super) in_short: bool,
}

impl WatchQuery {
    pub(super) fn read(
        shared: &AppState,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Self, Problem> {
        let (mut since, mut in_short) = (None, false);
        for (key, value) in api::pairs(query.unwrap_or_default()) {
            match &*key {
                "since" => since = Some(Seen::parse(&value)),
                "view" => in_short = is_summary(&value)?,
                _ => {}
            }
        }
        let last_id = headers.get("last-event-id");
        let last_id = last_id.map(|value| value.to_str().map_or(Seen::Unreadable, Seen::parse));
        Ok(Self {
            scope: scope(query, shared.config.watch.services_max.get())?,
            start: last_id
                .or(since)
                .map_or(WatchStart::Fresh, WatchStart::Behind),
            in_short,
        })
    }
}

fn is_summary(view: &str) -> Result<bool, Problem> {
    match view {
        "full" => Ok(false),
        "summary" => Ok(true),
        _ => Err(Problem::field(
            "view",
            format!("must be full or summary, not \"{view}\""),
        )),
    }
}

/// The scope that a query asks for; a name that no service can have never changes.
pub(super) fn scope(query: Option<&str>, services_max: usize) -> Result<Scope, Problem> {
    let (mut names, mut all, mut canary) = (None, false, true);
    for (key, value) in api::pairs(query.unwrap_or_default()) {
        match &*key {
            "canary" => {
                let read = api::flag(&value);
                canary = read.map_err(|message| Problem::field("canary", message))?;
            }
            "service" if value == "*" => all = true,
            "service" => {
                let names = names.get_or_insert_with(Vec::new);
                if names.len() == services_max {
                    let message =
                        format!("at most {services_max} are allowed (http.watch.services_max)");
                    return Err(Problem::field("service", message));
                }
                names.push(ServiceName::parse(&value));
            }
            _ => {}
        }
    }
    Ok(match names.filter(|_| !all) {
        None if canary => Scope::All,
        None => Scope::AllButCanary,
        Some(names) => {
            let names = names.into_iter().filter_map(Result::ok);
            let wanted = |name: &ServiceName| canary || name.as_str() != CANARY;
            Scope::Services(names.filter(wanted).collect())
        }
    })
}

/// A response that is a stream of server-sent events.
pub(in crate::http) fn sse(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt;
    let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENTS);
    let set = [
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that know this header do not buffer.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A comment that shows that a stream is alive.
const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");

/// Shows at a fixed interval that a stream is alive.
#[derive(Debug)]
pub(in crate::http) struct Silence(Interval);

impl Silence {
    pub(in crate::http) fn new(period: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(ticks)
    }

    /// Waits for the next comment. Cancel safe.
    pub(in crate::http) async fn comment(&mut self) -> Bytes {
        self.tick().await;
        STILL_HERE
    }

    /// Waits for the next tick. Cancel safe.
    pub(super) async fn tick(&mut self) {
        self.0.tick().await;
    }
}

#[derive(Debug)]
struct EventStream {
    feed: WatchFeed,
    silence: Silence,
    closing: CancellationToken,
    peer: HttpPeer,
    _permit: Permit,
}

impl EventStream {
    /// Look, act, wait; at a stop it sends what has happened and ends.
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
                () = self.peer.disconnected() => self.feed.close(),
                () = self.silence.tick() => return Some(self.keep_alive()),
            }
        }
    }

    /// A comment, with the cursor where it has moved without an event: an id alone is no message.
    fn keep_alive(&mut self) -> Bytes {
        match self.feed.silent_cursor() {
            Some(cursor) => format!("id: {cursor}\n\n").into(),
            None => STILL_HERE,
        }
    }
}
