//! A snapshot, encoded while it is sent.

use std::{ops::Bound, sync::Arc, vec::IntoIter};

use crate::{
    api::SnapshotWriter,
    model::{Cursor, Instance, ServiceId, Timestamp},
    registry::{Routes, Service, Snapshot, View},
};

/// The JSON of a snapshot, piece by piece. Keeps the views of the services, which are shared, and no text.
#[derive(Debug)]
pub(in crate::http) struct SnapshotPieces {
    writer: SnapshotWriter,
    /// None when only the services are sent.
    cursor: Option<Cursor>,
    services: IntoIter<(Arc<Service>, Arc<View>)>,
    routes: Option<Arc<Routes>>,
    place: SnapshotPosition,
}

#[derive(Debug)]
enum SnapshotPosition {
    Begin,
    NextService,
    /// Behind this instance of the service.
    Within(Arc<View>, ServiceId),
    Route(usize),
    Done,
}

impl SnapshotPieces {
    /// With the routes, for a reader of everything.
    pub(in crate::http) fn with_routes(cursor: Cursor, snapshot: Snapshot) -> Self {
        let routes = Some(Arc::clone(&snapshot.routes));
        Self::new(Some(cursor), snapshot, routes)
    }

    /// For a reader of some services.
    pub(in crate::http) fn without_routes(cursor: Cursor, snapshot: Snapshot) -> Self {
        Self::new(Some(cursor), snapshot, None)
    }

    /// The services and nothing around them.
    pub(in crate::http) fn services_alone(snapshot: Snapshot) -> Self {
        Self::new(None, snapshot, None)
    }

    fn new(cursor: Option<Cursor>, snapshot: Snapshot, routes: Option<Arc<Routes>>) -> Self {
        Self {
            writer: SnapshotWriter::default(),
            cursor,
            services: snapshot.services.into_iter(),
            routes,
            place: SnapshotPosition::Begin,
        }
    }

    /// Appends about `bytes` more, one instance at least; false when that was the last of it.
    pub(in crate::http) fn fill(
        &mut self,
        out: &mut Vec<u8>,
        bytes: usize,
        last_heartbeat: impl Fn(&Instance) -> Timestamp,
    ) -> bool {
        let full = out.len().saturating_add(bytes);
        loop {
            let place = std::mem::replace(&mut self.place, SnapshotPosition::Done);
            self.place = self.step(place, out, full, &last_heartbeat);
            if matches!(self.place, SnapshotPosition::Done) {
                return false;
            }
            if out.len() >= full {
                return true;
            }
        }
    }

    fn step(
        &mut self,
        place: SnapshotPosition,
        out: &mut Vec<u8>,
        full: usize,
        last_heartbeat: &impl Fn(&Instance) -> Timestamp,
    ) -> SnapshotPosition {
        match place {
            SnapshotPosition::Begin => {
                match self.cursor {
                    Some(cursor) => self.writer.begin(out, cursor),
                    None => self.writer.begin_bare(out),
                }
                SnapshotPosition::NextService
            }
            SnapshotPosition::NextService => match self.services.next() {
                Some((service, view)) => {
                    self.writer.service(out, service.name().as_str());
                    self.instances(out, view, None, full, last_heartbeat)
                }
                None if self.routes.is_some() => {
                    self.writer.routes(out);
                    SnapshotPosition::Route(0)
                }
                None => self.end(out),
            },
            SnapshotPosition::Within(view, after) => {
                self.instances(out, view, Some(after), full, last_heartbeat)
            }
            SnapshotPosition::Route(at) => {
                let routes = self.routes.as_ref();
                let Some(route) = routes.and_then(|routes| routes.list.get(at)) else {
                    return self.end(out);
                };
                self.writer.route(out, route);
                SnapshotPosition::Route(at + 1)
            }
            SnapshotPosition::Done => SnapshotPosition::Done,
        }
    }

    fn instances(
        &mut self,
        out: &mut Vec<u8>,
        view: Arc<View>,
        after: Option<ServiceId>,
        full: usize,
        last_heartbeat: &impl Fn(&Instance) -> Timestamp,
    ) -> SnapshotPosition {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut reached = None;
        for (id, one) in view.instances.range((from, Bound::Unbounded)) {
            self.writer.instance(out, one, last_heartbeat(one));
            if out.len() >= full {
                reached = Some(id.clone());
                break;
            }
        }
        reached.map_or(SnapshotPosition::NextService, |id| {
            SnapshotPosition::Within(view, id)
        })
    }

    fn end(&mut self, out: &mut Vec<u8>) -> SnapshotPosition {
        match self.cursor {
            Some(_) => self.writer.end(out),
            None => self.writer.end_bare(out),
        }
        SnapshotPosition::Done
    }
}

#[cfg(test)]
mod tests;
