//! Everything, or some services, at one place of the log.

use std::{collections::HashMap, sync::Arc};

use super::{Registry, Routes, Service, View};
use crate::model::{Event, Revision, ServiceId, ServiceName};

/// Services at one place of the log. Those that changed while it was taken are ahead of it, and say so.
#[derive(Debug)]
pub struct Snapshot {
    /// Follow the log from here.
    pub revision: Revision,
    /// The services with at least one instance, by name.
    pub services: Vec<(Arc<Service>, Arc<View>)>,
    /// The routes.
    pub routes: Arc<Routes>,
    ahead: Vec<(ServiceName, Revision)>,
    /// Instances changed after the snapshot's revision, with their last change; older log events about them
    /// are skipped.
    changed: HashMap<ServiceId, Revision>,
}

impl Snapshot {
    /// True when the snapshot already shows the event's change.
    pub fn covers(&self, event: &Event) -> bool {
        let Some(name) = &event.service_name else {
            return event.revision <= self.revision.max(self.routes.revision);
        };
        let changed = event
            .service_id
            .as_ref()
            .and_then(|id| self.changed.get(id));
        if changed.is_some_and(|changed| event.revision <= *changed) {
            return true;
        }
        let ahead = self.ahead.iter().find(|(known, _)| known == name);
        event.revision <= ahead.map_or(self.revision, |(_, revision)| *revision)
    }

    /// The events that this snapshot covers beyond its revision, without its services and routes; none if
    /// there are none.
    pub fn beyond(&self) -> Option<Self> {
        (self.covered_until() > self.revision).then(|| Self {
            revision: self.revision,
            services: Vec::new(),
            routes: Arc::new(Routes {
                revision: self.routes.revision,
                ..Routes::default()
            }),
            ahead: self.ahead.clone(),
            changed: self.changed.clone(),
        })
    }

    /// After this revision nothing is covered any more.
    pub fn covered_until(&self) -> Revision {
        let newest = self.ahead.iter().map(|(_, revision)| *revision).max();
        newest
            .unwrap_or(self.revision)
            .max(self.revision)
            .max(self.routes.revision)
    }
}

impl Registry {
    /// Every service. Takes no lock.
    pub fn snapshot(&self) -> Snapshot {
        let revision = self.newest();
        let services = self.inner.table.services.pin().values().cloned().collect();
        self.snapshot_at(revision, services)
    }

    /// The services of these names that exist. Takes no lock.
    pub fn snapshot_of(&self, names: &[ServiceName]) -> Snapshot {
        let revision = self.newest();
        let mut services: Vec<_> = names
            .iter()
            .filter_map(|name| self.service(name.as_str()))
            .collect();
        services.sort_by(|one, two| one.name().cmp(two.name()));
        services.dedup_by(|one, two| one.name() == two.name());
        self.snapshot_at(revision, services)
    }

    fn snapshot_at(&self, revision: Revision, mut services: Vec<Arc<Service>>) -> Snapshot {
        services.sort_by(|one, two| one.name().cmp(two.name()));
        services.dedup_by(|one, two| one.name() == two.name());
        let (mut ahead, mut changed) = (Vec::new(), HashMap::new());
        let mut shown = Vec::with_capacity(services.len());
        for service in services {
            let view = service.view();
            if view.revision > revision {
                ahead.push((service.name().clone(), view.revision));
                let instances = view.instances.values();
                let newer = instances.filter(|instance| instance.revision > revision);
                for one in newer {
                    let last = changed.entry(one.id().clone()).or_insert(one.revision);
                    *last = one.revision.max(*last);
                }
            }
            if !view.instances.is_empty() {
                shown.push((service, view));
            }
        }
        Snapshot {
            revision,
            services: shown,
            routes: self.routes(),
            ahead,
            changed,
        }
    }
}
