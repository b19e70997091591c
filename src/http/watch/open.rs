//! The watchers that are open now, and how far each has been served.

use axum::{extract::State, response::Response};

use super::limit::{Permit, TooManyWatchers, WatcherEntry, WatcherKind};
use crate::{
    api::{self, OpenWatcher, OpenWatcherList},
    http::{answer::json, serve::connection::HttpPeer, state::AppState},
};

/// The most watchers in one answer.
const LISTED_MAX: usize = 1000;

/// The streams, WebSockets, waiting requests and callbacks that are open now.
#[utoipa::path(
    get, path = "/watchers/streams",
    responses((status = 200, body = OpenWatcherList))
)]
pub(in crate::http) async fn streams(State(shared): State<AppState>) -> Response {
    let mut streams = shared.system.callbacks();
    let (open, total) = shared.watching.limit.open(LISTED_MAX);
    let total_count = streams.len() + total;
    streams.extend(open.iter().map(|one| shared.shown(one)));
    streams.truncate(LISTED_MAX);
    let list = OpenWatcherList {
        streams,
        total_count,
    };
    json(api::encode(&list))
}

impl AppState {
    /// Counts and lists a watcher until its permit is dropped.
    ///
    /// # Errors
    /// There are too many.
    pub(in crate::http) fn enter_watcher(
        &self,
        peer: &HttpPeer,
        kind: WatcherKind,
        scope: &str,
    ) -> Result<Permit, TooManyWatchers> {
        let entry = WatcherEntry::new(peer, kind, scope, self.now());
        self.watching.limit.enter(entry)
    }

    fn shown(&self, one: &WatcherEntry) -> OpenWatcher {
        let cursor = one.cursor();
        let newest = self.registry.newest();
        OpenWatcher {
            kind: one.kind.as_str(),
            address: one.client.to_string(),
            identity: one.identity.as_deref().map(str::to_owned),
            scope: one.scope.to_string(),
            since: one.since,
            cursor: cursor.map(|cursor| self.registry.cursor(cursor)),
            lag: cursor.map(|cursor| newest.0.saturating_sub(cursor.0)),
            error: None,
        }
    }
}
