//! Watching: streams, WebSockets and long polls, each at its own pace.
//!
//! A writer never waits for a watcher: each watcher pulls from the log what it has not seen.

mod config;
mod feed;
mod frames;
mod limit;
mod open;
mod poll;
mod reader;
mod recent;
mod snapshot;
mod socket;
mod stream;
mod summary;

use axum::response::{IntoResponse, Response};
use prometheus::IntCounter;

pub use self::config::Config;
pub(in crate::http) use self::{
    frames::{Form, Frames},
    limit::{Permit, TooManyWatchers, WatcherKind, WatcherLimit},
    open::{__path_streams, streams},
    poll::{LongPoll, is_current},
    reader::place,
    recent::{__path_events, events, sent_in_pieces},
    snapshot::SnapshotPieces,
    socket::{__path_watch_socket, watch_socket},
    stream::{__path_watch, Silence, sse, watch},
};
use super::answer::HttpProblem;
use crate::telemetry::Metrics;

/// The state that all watchers share.
#[derive(Debug)]
pub(in crate::http) struct WatchState {
    pub(in crate::http) limit: WatcherLimit,
    streams: Frames,
    sockets: Frames,
    events: IntCounter,
    pub(in crate::http) resyncs: IntCounter,
}

impl WatchState {
    pub(in crate::http) fn new(config: &Config, metrics: &Metrics) -> Self {
        Self {
            limit: WatcherLimit::new(config, metrics),
            streams: Frames::new(Form::Sse),
            sockets: Frames::new(Form::Socket),
            events: metrics.counter(
                "musterd_watch_events_total",
                "Events sent to streams and sockets, counted for each watcher.",
            ),
            resyncs: metrics.counter(
                "musterd_watch_resyncs_total",
                "Watchers that had to start again from a snapshot.",
            ),
        }
    }

    fn frames(&self, form: Form) -> &Frames {
        match form {
            Form::Sse => &self.streams,
            Form::Socket => &self.sockets,
        }
    }
}

impl IntoResponse for TooManyWatchers {
    fn into_response(self) -> Response {
        HttpProblem::new(429, self.to_string()).later(5)
    }
}

#[cfg(test)]
mod tests;
