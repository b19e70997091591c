//! The configuration of gateways as server-sent events: all of it, whenever any of it changed.

use std::collections::VecDeque;

use axum::{
    extract::{RawQuery, State},
    http::HeaderMap,
    response::IntoResponse,
};
use bytes::Bytes;
use futures_util::stream::unfold;
use tokio::sync::watch::Receiver;

use super::body;
use crate::{
    api::{self, Notice, Seen},
    catalog::Sight,
    gateway::RoutedInstances,
    http::{
        answer::EndpointResult,
        problems::TooMany,
        serve::connection::HttpPeer,
        state::AppState,
        watch::{Form, Permit, Silence, WatcherKind, is_current, place, sse},
    },
    model::Revision,
};

/// Follow the configuration: a snapshot at first, and again whenever a route, or a service that one names,
/// has changed.
#[utoipa::path(
    get, path = "/gateway/watch",
    params(
        ("since" = Option<String>, Query, description = "Nothing is sent while this is the index"),
        ("token" = Option<String>, Query, description = "The caller's token, for clients that can send no header"),
        ("ticket" = Option<String>, Query, description = "The same with a ticket of POST /auth/ticket"),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; wins over `since`"),
    ),
    responses(
        (status = 200, description = "A stream of messages named snapshot; the data is that of /gateway/config, the id its index", content_type = "text/event-stream", body = String),
        TooMany,
    )
)]
pub(in crate::http) async fn watch(
    State(shared): State<AppState>,
    peer: HttpPeer,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> EndpointResult {
    let permit = match shared.enter_watcher(&peer, WatcherKind::Gateway, "*") {
        Ok(permit) => permit,
        Err(refused) => return Ok(refused.into_response()),
    };
    let query = query.unwrap_or_default();
    let since = api::pairs(&query).find(|(key, _)| key == "since");
    let since = since.map(|(_, value)| Seen::parse(&value));
    let last_id = headers.get("last-event-id");
    let last_id = last_id.map(|value| value.to_str().map_or(Seen::Unreadable, Seen::parse));
    let gateway = Follower::new(shared, peer, last_id.or(since), permit);
    let pieces = unfold(gateway, |mut gateway| async {
        let bytes = gateway.next().await?;
        Some((bytes, gateway))
    });
    Ok(sse(pieces))
}

#[derive(Debug)]
struct Follower {
    shared: AppState,
    changes: Receiver<u64>,
    sent: Option<Revision>,
    sight: Sight,
    /// What a gateway that does not see everything was sent last, without its index.
    last: Option<Bytes>,
    out: VecDeque<Bytes>,
    silence: Silence,
    closed: bool,
    peer: HttpPeer,
    _permit: Permit,
}

impl Follower {
    fn new(shared: AppState, peer: HttpPeer, seen: Option<Seen>, permit: Permit) -> Self {
        let mut gateway = Self {
            changes: shared.gateway.follow(),
            sent: None,
            sight: shared.sight(&peer),
            last: None,
            out: VecDeque::new(),
            silence: Silence::new(shared.config.watch.keep_alive.get()),
            closed: false,
            peer,
            _permit: permit,
            shared,
        };
        if let Some(seen) = seen {
            gateway.start_after(seen);
        }
        gateway
    }

    fn start_after(&mut self, seen: Seen) {
        let shared = &self.shared;
        let config = shared.gateway.instances();
        if is_current(&shared.registry, seen, config.index) {
            self.sent = Some(config.index);
        } else if place(&shared.registry, seen).is_none() {
            shared.watching.resyncs.inc();
            let json = api::notice(&Notice {
                event: "resync",
                epoch: shared.registry.epoch(),
                service_name: None,
                reason: Some("changes were missed, a snapshot follows"),
                timestamp: shared.now(),
            });
            self.out.push_back(Form::Sse.frame("resync", None, &json));
        }
    }

    /// Look, act, wait; at a stop it sends what has happened and ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.out.pop_front() {
                return Some(bytes);
            }
            let config = self.shared.gateway.instances();
            if self.sent != Some(config.index) {
                self.send(&config);
                continue;
            }
            if self.closed {
                return None;
            }
            tokio::select! {
                changed = self.changes.changed() => self.closed |= changed.is_err(),
                () = self.shared.closing.cancelled() => self.closed = true,
                () = self.peer.disconnected() => self.closed = true,
                comment = self.silence.comment() => return Some(comment),
            }
        }
    }

    /// The body is shared with all other gateways, so it is not copied into a frame.
    fn send(&mut self, config: &RoutedInstances) {
        self.sent = Some(config.index);
        let body = body(&self.shared, &self.sight, config);
        if !self.sight.is_whole() {
            let seen = config.seen_by(&self.sight);
            let cursor_of_none = self.shared.registry.cursor(Revision::default());
            // Without the index, which also moves for what is not seen.
            let shown = api::gateway_config(cursor_of_none, seen.routes());
            if self.last.as_ref().is_some_and(|last| **last == *shown) {
                return;
            }
            self.last = Some(shown.into());
        }
        let cursor = self.shared.registry.cursor(config.index);
        let head = Form::Sse.head("snapshot", Some(cursor));
        self.out.push_back(head.into());
        self.out.push_back(body);
        self.out.push_back(Bytes::from_static(Form::Sse.tail()));
    }
}
