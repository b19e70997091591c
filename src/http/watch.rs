//! Watching: streams, sockets and long polls that are told of changes, each at its own pace.
//!
//! Whoever changes something never waits here: a watcher pulls from the log what it has not seen.

mod config;
mod feed;
mod frames;
mod gate;
mod poll;
mod reader;
mod recent;
mod snapshot;
mod socket;
mod stream;

use axum::response::{IntoResponse, Response};
use prometheus::IntCounter;

pub use self::config::Config;
pub(in crate::http) use self::{
    frames::{Form, Frames},
    gate::{Kind, Permit, Refused, WatcherLimit},
    poll::{Waiting, is_current},
    reader::place,
    recent::{__path_events, events, sent_in_pieces},
    snapshot::Pieces,
    socket::{__path_watch_socket, watch_socket},
    stream::{__path_watch, Silence, sse, watch},
};
use super::answer::Refusal;
use crate::telemetry::Metrics;

/// What all watchers share.
#[derive(Debug)]
pub(in crate::http) struct Watching {
    pub(in crate::http) gate: WatcherLimit,
    streams: Frames,
    sockets: Frames,
    events: IntCounter,
    pub(in crate::http) resyncs: IntCounter,
}

impl Watching {
    pub(in crate::http) fn new(config: &Config, metrics: &Metrics) -> Self {
        Self {
            gate: WatcherLimit::new(config, metrics),
            streams: Frames::new(Form::Sse),
            sockets: Frames::new(Form::Socket),
            events: metrics.counter(
                "musterd_watch_events_total",
                "Events given to streams and sockets, each once per watcher.",
            ),
            resyncs: metrics.counter(
                "musterd_watch_resyncs_total",
                "Watchers that had to start over from a snapshot.",
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

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Refusal::new(429, self.to_string()).later(5)
    }
}

#[cfg(test)]
pub(in crate::http) mod fixture;
#[cfg(test)]
pub(in crate::http) mod live;
#[cfg(test)]
mod tests;
