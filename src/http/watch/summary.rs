//! The short view of a stream: services as counts instead of their instances. Changes of one service that come close
//! together are summed up once.

use std::{collections::BTreeSet, sync::Arc, time::Duration, vec::IntoIter};

use tokio::time::{Instant, sleep_until};

use crate::{
    api::{self, ServiceSummary, SummaryChanges},
    model::{Cursor, Revision, ServiceName},
    registry::{Registry, Routes, Service, Snapshot, View},
};

/// The services that changed are summed up at most so often.
const EVERY: Duration = Duration::from_millis(200);
/// At most so many services are summed up in one message.
const SERVICES_MAX: usize = 256;

/// The services that changed since the last message about them.
#[derive(Debug)]
pub(super) struct ChangedServices {
    names: BTreeSet<ServiceName>,
    due: Instant,
}

impl ChangedServices {
    pub(super) fn new() -> Self {
        Self {
            names: BTreeSet::new(),
            due: Instant::now(),
        }
    }

    /// Notes a change of a service.
    pub(super) fn note(&mut self, name: &ServiceName) {
        if !self.names.contains(name) {
            self.names.insert(name.clone());
        }
    }

    /// Waits until there is a message; forever while nothing changed. Cancel safe.
    pub(super) async fn until_due(&self) {
        match self.names.is_empty() {
            true => std::future::pending().await,
            false => sleep_until(self.due).await,
        }
    }

    /// The next message, if it is time for one.
    pub(super) fn take(&mut self, registry: &Registry) -> Option<Vec<u8>> {
        let now = Instant::now();
        if self.names.is_empty() || now < self.due {
            return None;
        }
        self.due = now + EVERY;
        let mut names = std::mem::take(&mut self.names);
        if let Some(rest) = names.iter().nth(SERVICES_MAX).cloned() {
            self.names = names.split_off(&rest);
        }
        let guarded = registry.guarded();
        let summary = |name| {
            let service = registry.service(ServiceName::as_str(name))?;
            let view = service.view();
            (!view.instances.is_empty()).then(|| summary(registry, &service, &view, &guarded))
        };
        let services = names.iter().map(|name| (name, summary(name))).collect();
        Some(SummaryChanges { services }.to_json())
    }
}

/// One service in short.
fn summary(
    registry: &Registry,
    service: &Service,
    view: &View,
    guarded: &[ServiceName],
) -> ServiceSummary {
    let instances = view.instances.values().map(|one| &**one);
    let mut summary = ServiceSummary::of(instances, view.revision);
    summary.guarded = guarded.binary_search(service.name()).is_ok();
    let before = Revision(service.logged().0.saturating_sub(1));
    // None when the log no longer has it.
    let last = registry.since_of(service, before, 1).ok();
    if let Some(event) = last.and_then(|mut events| events.pop()) {
        summary.changed_at = Some(event.timestamp);
        summary.event = Some(event.kind);
        summary.service_id.clone_from(&event.service_id);
    }
    summary
}

/// The JSON of a snapshot in short, `{"epoch","revision","cursor","services":{name:summary},"routes"}`, piece by piece.
#[derive(Debug)]
pub(super) struct SummaryPieces {
    cursor: Cursor,
    services: IntoIter<(Arc<Service>, Arc<View>)>,
    /// None for a reader of some services.
    routes: Option<Arc<Routes>>,
    guarded: Vec<ServiceName>,
    /// Whether the beginning was written, and a service.
    begun: [bool; 2],
}

impl SummaryPieces {
    pub(super) fn new(
        registry: &Registry,
        cursor: Cursor,
        snapshot: Snapshot,
        with_routes: bool,
    ) -> Self {
        Self {
            cursor,
            routes: with_routes.then_some(snapshot.routes),
            services: snapshot.services.into_iter(),
            guarded: registry.guarded(),
            begun: [false; 2],
        }
    }

    /// Appends about `bytes` more, one service at least; false when that was the last of it.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, bytes: usize, registry: &Registry) -> bool {
        let full = out.len().saturating_add(bytes);
        if !std::mem::replace(&mut self.begun[0], true) {
            let Cursor { epoch, revision } = self.cursor;
            let begin = format!(
                "{{\"epoch\":\"{epoch}\",\"revision\":{},\"cursor\":\"{}\",\"services\":{{",
                revision.0, self.cursor
            );
            out.extend_from_slice(begin.as_bytes());
        }
        while out.len() < full {
            let Some((service, view)) = self.services.next() else {
                self.end(out);
                return false;
            };
            if std::mem::replace(&mut self.begun[1], true) {
                out.push(b',');
            }
            out.extend_from_slice(&api::encode(service.name()));
            out.push(b':');
            let one = summary(registry, &service, &view, &self.guarded);
            out.extend_from_slice(&api::encode(&one));
        }
        true
    }

    fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"routes\":");
        let Some(routes) = &self.routes else {
            out.extend_from_slice(b"null}");
            return;
        };
        out.push(b'[');
        for (index, route) in routes.list.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&api::route(route));
        }
        out.extend_from_slice(b"]}");
    }
}

#[cfg(test)]
mod tests;
