//! A snapshot's JSON written piece by piece, for those that are too large to be built as a whole.

use std::sync::Arc;

use super::{
    instance,
    json::{Json, text},
    route,
};
use crate::model::{Cursor, Instance, Route, Timestamp};

/// Writes `{"epoch","revision","cursor","services":{name:[instance, …]},"routes"}` in the order of
/// the calls: begin, service, instance …, then routes, route …, or no routes, and end.
#[derive(Debug, Default)]
pub struct SnapshotWriter {
    services: usize,
    instances: usize,
    routes: Option<usize>,
}

impl SnapshotWriter {
    /// Everything before the first service.
    pub fn begin(&mut self, out: &mut Vec<u8>, cursor: Cursor) {
        let mut json = Json::on(std::mem::take(out));
        json.open(b'{');
        json.key("epoch").text(&cursor.epoch.to_string());
        json.key("revision").value(cursor.revision);
        json.key("cursor").text(&cursor.to_string());
        json.key("services").open(b'{');
        *out = json.into_bytes();
    }

    /// Instead of `begin` and `end`: the services alone, `{name:[instance, …]}`.
    pub fn begin_bare(&mut self, out: &mut Vec<u8>) {
        out.push(b'{');
    }

    /// Everything after the last service of those alone.
    pub fn end_bare(&mut self, out: &mut Vec<u8>) {
        if self.services > 0 {
            out.push(b']');
        }
        out.push(b'}');
    }

    /// Begins a service, whose instances follow.
    pub fn service(&mut self, out: &mut Vec<u8>, name: &str) {
        if self.services > 0 {
            out.extend_from_slice(b"],");
        }
        self.services += 1;
        self.instances = 0;
        text(out, name);
        out.extend_from_slice(b":[");
    }

    /// An instance of the service that was begun last.
    pub fn instance(&mut self, out: &mut Vec<u8>, one: &Arc<Instance>, last_heartbeat: Timestamp) {
        if self.instances > 0 {
            out.push(b',');
        }
        self.instances += 1;
        instance(out, one, last_heartbeat);
    }

    /// Begins the routes, after the last service.
    pub fn routes(&mut self, out: &mut Vec<u8>) {
        self.end_services(out);
        out.push(b'[');
        self.routes = Some(0);
    }

    /// A route.
    pub fn route(&mut self, out: &mut Vec<u8>, one: &Route) {
        let before = self.routes.unwrap_or(0);
        if before > 0 {
            out.push(b',');
        }
        self.routes = Some(before + 1);
        out.extend_from_slice(&route(one));
    }

    /// Everything after the last route, or after the last service if there are no routes in it.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.routes.is_some() {
            out.push(b']');
        } else {
            self.end_services(out);
            out.extend_from_slice(b"null");
        }
        out.push(b'}');
    }

    fn end_services(&self, out: &mut Vec<u8>) {
        if self.services > 0 {
            out.push(b']');
        }
        out.extend_from_slice(b"},\"routes\":");
    }
}

/// The state of some services, or of all, at one place of the log.
#[derive(Debug)]
pub struct SnapshotBody<'a, S> {
    /// Follow from here.
    pub cursor: Cursor,
    /// Names and instances.
    pub services: S,
    /// The gateway's routes, for subscribers of everything.
    pub routes: Option<&'a [Arc<Route>]>,
}

/// A snapshot's JSON as a whole.
pub fn snapshot<'a, L: IntoIterator<Item = &'a Arc<Instance>>>(
    snapshot: SnapshotBody<'_, impl IntoIterator<Item = (&'a str, L)>>,
    last_heartbeat: impl Fn(&Instance) -> Timestamp,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let mut writer = SnapshotWriter::default();
    writer.begin(&mut out, snapshot.cursor);
    for (name, instances) in snapshot.services {
        writer.service(&mut out, name);
        for one in instances {
            writer.instance(&mut out, one, last_heartbeat(one));
        }
    }
    if let Some(routes) = snapshot.routes {
        writer.routes(&mut out);
        for one in routes {
            writer.route(&mut out, one);
        }
    }
    writer.end(&mut out);
    out
}

#[cfg(test)]
mod tests;
