//! Events, notices and snapshots: one shape on every way out.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    instance::{InstanceJson, instance},
    json::Json,
    route::{RouteAnswer, route},
};
use crate::model::{Cursor, Epoch, Event, Instance, Timestamp};

/// An event's JSON, encoded once: every transport sends the same bytes.
///
/// `last_heartbeat` is the time at which the lease of the instance was last renewed.
pub fn event(event: &Event, last_heartbeat: impl Fn(&Instance) -> Timestamp) -> Bytes {
    let encode = || {
        let mut json = Json::with_capacity(event.size() + 256);
        write(&mut json, event, last_heartbeat);
        // Without the spare room: the log keeps it.
        Bytes::from(json.into_bytes().into_boxed_slice())
    };
    event.encoded.get_or_init(encode).clone()
}

fn write(json: &mut Json, event: &Event, last_heartbeat: impl Fn(&Instance) -> Timestamp) {
    json.open(b'{');
    json.key("epoch").text(&event.epoch.to_string());
    json.key("revision").value(event.revision);
    json.key("event").text(event.kind.as_str());
    write_texts(
        json,
        [
            event.service_id.as_ref().map(|id| id.as_str()),
            event.service_name.as_ref().map(|name| name.as_str()),
            event.status.map(|status| status.as_str()),
            event.previous_status.map(|status| status.as_str()),
            event.reason.as_deref(),
        ],
    );
    json.key("timestamp").time(event.timestamp);
    json.key("instance");
    match &event.instance {
        Some(one) => instance(json.bytes_mut(), one, last_heartbeat(one)),
        None => json.value(()),
    }
    json.key("route");
    match &event.route {
        Some(one) => json.raw(&route(one)),
        None => json.value(()),
    }
    json.close(b'}');
}

fn write_texts(json: &mut Json, texts: [Option<&str>; 5]) {
    const KEYS: [&str; 5] = [
        "service_id",
        "service_name",
        "status",
        "previous_status",
        "reason",
    ];
    for (key, text) in KEYS.into_iter().zip(texts) {
        json.key(key).value(text);
    }
}

/// Some events and where to continue: `{"events":[event, …],"revision","cursor"}`.
pub fn events(cursor: Cursor, events: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let mut json = Json::with_capacity(1024);
    json.open(b'{');
    json.key("events").open(b'[');
    for one in events {
        json.item().raw(&one);
    }
    json.close(b']');
    json.key("revision").value(cursor.revision);
    json.key("cursor").text(&cursor.to_string());
    json.close(b'}');
    json.into_bytes()
}

/// The answer when events were missed, as far as the snapshot:
/// `{"events":[],"revision","cursor","resync":true,"snapshot":`. The snapshot and `}` follow.
pub fn events_lost(cursor: Cursor) -> Vec<u8> {
    let mut json = events(cursor, []);
    json.pop();
    json.extend_from_slice(br#","resync":true,"snapshot":"#);
    json
}

/// A message to watchers that is not a registry change and has no revision.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// `resync` or `migration.*`.
    pub event: &'a str,
    /// The epoch of the revisions.
    pub epoch: Epoch,
    /// The service it concerns, if it is one.
    pub service_name: Option<&'a str>,
    /// Why.
    pub reason: Option<&'a str>,
    /// When.
    pub timestamp: Timestamp,
}

/// A notice's JSON: an event's keys, with null where they have no meaning.
pub fn notice(notice: &Notice<'_>) -> Bytes {
    let mut json = Json::with_capacity(256);
    json.open(b'{');
    json.key("epoch").text(&notice.epoch.to_string());
    json.key("revision").value(());
    json.key("event").text(notice.event);
    write_texts(
        &mut json,
        [None, notice.service_name, None, None, notice.reason],
    );
    json.key("timestamp").time(notice.timestamp);
    json.key("instance").value(());
    json.key("route").value(());
    json.close(b'}');
    json.into_bytes().into()
}

/// A change of the registry, or a notice.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Event)]
pub struct EventJson {
    /// The epoch of the revisions.
    pub epoch: String,
    /// Its number; null for notices such as resync.
    pub revision: Option<u64>,
    /// The kind of the event.
    pub event: String,
    /// The instance that it is about.
    pub service_id: Option<String>,
    /// The service that it is about.
    pub service_name: Option<String>,
    /// The effective status after it.
    pub status: Option<String>,
    /// The effective status before it.
    pub previous_status: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub timestamp: Timestamp,
    /// The instance after it, or before it was removed.
    pub instance: Option<InstanceJson>,
    /// The route after it, or before it was removed.
    pub route: Option<RouteAnswer>,
}

/// The state of some services, or of all.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Snapshot)]
pub struct SnapshotJson {
    /// The epoch of the revisions.
    pub epoch: String,
    /// The newest change that it shows.
    pub revision: u64,
    /// Both in one.
    pub cursor: String,
    /// Instances by service.
    pub services: BTreeMap<String, Vec<InstanceJson>>,
    /// Gateway routes, for watchers of everything.
    pub routes: Option<Vec<RouteAnswer>>,
}

/// Some events.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Events)]
pub struct EventsJson {
    /// Newest last.
    pub events: Vec<EventJson>,
    /// Every event up to here was considered.
    pub revision: u64,
    /// The same as a cursor, for the next request.
    pub cursor: String,
    /// True when events were missed; then start again from the snapshot.
    pub resync: Option<bool>,
    /// With `resync`.
    pub snapshot: Option<SnapshotJson>,
}

#[cfg(test)]
mod tests;
