//! What the registry cannot be asked for by key: services by address, and names with upper-case letters. It
//! follows the log of events, a few milliseconds behind.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{escape, zone::address_of};
use crate::{
    model::{Event, EventKind, Instance, Revision, ServiceId, ServiceName},
    registry::Registry,
};

/// Changes are collected for this long: a task that sleeps costs writers nothing.
const PAUSE: Duration = Duration::from_millis(25);
/// Events that are read at once.
const EVENTS_MAX: usize = 1000;
/// Names that one line of the log shows.
const NAMES_SHOWN: usize = 10;

/// A cheap handle to the index.
#[derive(Clone, Debug, Default)]
pub(super) struct DnsIndex(Arc<RwLock<IndexTables>>);

#[derive(Debug, Default)]
struct IndexTables {
    /// The service of each instance, and the instance's address.
    instances: HashMap<ServiceId, (ServiceName, Option<IpAddr>)>,
    addresses: HashMap<IpAddr, BTreeMap<ServiceName, usize>>,
    /// Names of services that are not as DNS has them, and how many instances each has.
    odd: HashMap<ServiceName, usize>,
    /// The same names in lower case, where that differs.
    folded: HashMap<String, BTreeSet<ServiceName>>,
    /// Ids in lower case, where that differs.
    folded_ids: HashMap<String, BTreeSet<ServiceId>>,
    /// Names that the log has not shown yet.
    new_odd: Vec<ServiceName>,
}

impl DnsIndex {
    /// The services with an instance at an address, by name.
    pub(super) fn services_at(&self, address: IpAddr) -> Vec<ServiceName> {
        let tables = self.0.read();
        let services = tables.addresses.get(&address);
        services.map_or_else(Vec::new, |services| services.keys().cloned().collect())
    }

    /// The service whose name is this in lower case: the first of several.
    pub(super) fn service(&self, folded: &str) -> Option<ServiceName> {
        self.0.read().folded.get(folded)?.first().cloned()
    }

    /// The instance whose id is this in lower case: the first of several.
    pub(super) fn instance(&self, folded: &str) -> Option<ServiceId> {
        self.0.read().folded_ids.get(folded)?.first().cloned()
    }

    /// Follows the registry until `stop`.
    pub(super) async fn run(self, registry: Registry, domain: String, stop: CancellationToken) {
        let mut newest = registry.follow();
        let mut cursor = self.rebuild(&registry);
        loop {
            self.show_odd(&domain);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = newest.changed() => if changed.is_err() {
                    return stop.cancelled().await;
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => (),
            }
            newest.mark_unchanged();
            while let Some(next) = self.catch_up(&registry, cursor) {
                cursor = next;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes over the next events after a cursor; none when there are no more.
    fn catch_up(&self, registry: &Registry, cursor: Revision) -> Option<Revision> {
        let Ok(events) = registry.since(cursor, EVENTS_MAX) else {
            return Some(self.rebuild(registry));
        };
        let last = events.last()?.revision;
        for event in &events {
            self.0.write().apply(event);
        }
        Some(last)
    }

    /// Reads everything again, and answers with the cursor to continue from.
    fn rebuild(&self, registry: &Registry) -> Revision {
        let snapshot = registry.snapshot();
        let mut tables = IndexTables::default();
        let views = snapshot.services.iter().map(|(_, view)| view);
        for instance in views.flat_map(|view| view.instances.values()) {
            tables.put(instance);
        }
        let mut own = self.0.write();
        let known = |name: &ServiceName| !own.odd.contains_key(name);
        tables.new_odd.retain(known);
        *own = tables;
        snapshot.revision
    }

    /// Names new services that a plain query can't find.
    fn show_odd(&self, domain: &str) {
        let new = std::mem::take(&mut self.0.write().new_odd);
        if new.is_empty() {
            return;
        }
        let shown = new.iter().take(NAMES_SHOWN).map(|name| {
            let name = name.as_str();
            match escape::escaped(name) {
                Some(escaped) => format!("\"{name}\" ({escaped}.service.{domain})"),
                None => format!("\"{name}\" (too long for DNS)"),
            }
        });
        let shown: Vec<_> = shown.collect();
        let more = match new.len().checked_sub(NAMES_SHOWN + 1) {
            Some(more) => format!(" and {} more", more + 1),
            None => String::new(),
        };
        tracing::warn!(
            "DNS finds these services by an escaped name only: {}{more}",
            shown.join(", ")
        );
    }
}

impl IndexTables {
    fn apply(&mut self, event: &Event) {
        let Some(instance) = &event.instance else {
            return;
        };
        match event.kind {
            EventKind::Deregistered | EventKind::Expired => self.remove(instance.id()),
            _ => self.put(instance),
        }
    }

    fn put(&mut self, instance: &Instance) {
        let id = instance.id();
        let name = instance.name();
        let address = address_of(&instance.registration.host);
        let known = self.instances.get(id);
        if known.is_some_and(|(known, at)| known == name && *at == address) {
            return;
        }
        self.remove(id);
        self.instances.insert(id.clone(), (name.clone(), address));
        if let Some(address) = address {
            let services = self.addresses.entry(address).or_default();
            *services.entry(name.clone()).or_default() += 1;
        }
        if !escape::is_plain(name.as_str()) {
            self.put_odd(name);
        }
        if let Some(folded) = folded(id.as_str()) {
            let ids = self.folded_ids.entry(folded).or_default();
            ids.insert(id.clone());
        }
    }

    fn put_odd(&mut self, name: &ServiceName) {
        let count = self.odd.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        let folded = folded(name.as_str());
        let is_first = folded.as_ref().is_some_and(|folded| {
            let names = self.folded.entry(folded.clone()).or_default();
            names.insert(name.clone());
            names.len() == 1
        });
        // A plain query finds it when its letters are all that is odd.
        let is_found = is_first && folded.is_some_and(|folded| escape::is_plain(&folded));
        if !is_found {
            self.new_odd.push(name.clone());
        }
    }

    fn remove(&mut self, id: &ServiceId) {
        let Some((name, address)) = self.instances.remove(id) else {
            return;
        };
        if let Some(address) = address
            && let Some(services) = self.addresses.get_mut(&address)
        {
            count_down(services, &name);
            if services.is_empty() {
                self.addresses.remove(&address);
            }
        }
        if let Some(count) = self.odd.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                self.odd.remove(&name);
                drop_folded(&mut self.folded, &name, name.as_str());
            }
        }
        drop_folded(&mut self.folded_ids, id, id.as_str());
    }
}

fn count_down(services: &mut BTreeMap<ServiceName, usize>, name: &ServiceName) {
    let Some(count) = services.get_mut(name) else {
        return;
    };
    *count -= 1;
    if *count == 0 {
        services.remove(name);
    }
}

fn drop_folded<T: Ord>(table: &mut HashMap<String, BTreeSet<T>>, one: &T, text: &str) {
    let Some(folded) = folded(text) else {
        return;
    };
    if let Some(names) = table.get_mut(&folded) {
        names.remove(one);
        if names.is_empty() {
            table.remove(&folded);
        }
    }
}

/// A text in lower case; none when it is so already.
fn folded(text: &str) -> Option<String> {
    let has_capitals = text.bytes().any(|byte| byte.is_ascii_uppercase());
    has_capitals.then(|| text.to_ascii_lowercase())
}
