//! Lists of apps, what has changed of them in the last minutes, and their hash code.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    draft::word,
    view::{InstanceView, ViewMoment},
    writer::{BodyFormat, BodyWriter},
};
use crate::{
    catalog::{Catalog, Sight},
    model::{CANARY, Event, EventKind, Instance, Revision, ServiceId, ServiceName, Timestamp},
    registry::{Compacted, Registry, Reservation, Snapshot},
};

/// How far back an answer about changes reaches, in milliseconds.
const DELTA_MS: i64 = 180_000;
/// How old a kept answer may be: it shows times of renewals, which take no place in the log.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Events that are read at once.
const EVENTS_AT_ONCE: usize = 1000;
/// Instances that are read or encoded before other tasks of the thread get a turn.
const AT_ONCE: usize = 256;

/// An instance in an answer, and its change.
type ShownInstance = (Arc<Instance>, &'static str);

/// The instances of an answer by app.
#[derive(Debug, Default)]
pub(super) struct AppList(BTreeMap<String, Vec<ShownInstance>>);

impl AppList {
    /// Every instance that the caller sees.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self::of_services(snapshot, |_| true)
    }

    /// The instances of one app.
    pub(super) fn of_app(snapshot: &Snapshot, app: &str) -> Self {
        Self::of_services(snapshot, |service| super::is_app(service, app))
    }

    fn of_services(snapshot: &Snapshot, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut list = Self::default();
        for (service, view) in &snapshot.services {
            let name = service.name().as_str();
            if name != CANARY && is_wanted(name) {
                let instances = view.instances.values();
                let added = instances.map(|instance| (Arc::clone(instance), "ADDED"));
                list.shown_of(name).extend(added);
            }
        }
        list
    }

    /// The instances that have this virtual address.
    pub(super) async fn of_vip(snapshot: &Snapshot, field: &str, vip: &str) -> Self {
        let mut found = Self::default();
        for (at, (instance, action)) in Self::of(snapshot).0.values().flatten().enumerate() {
            take_turns(at).await;
            if InstanceView::new(instance).has_vip(field, vip) {
                found.add(instance, action);
            }
        }
        found
    }

    /// The instances of the app that a service is.
    fn shown_of(&mut self, service: &str) -> &mut Vec<ShownInstance> {
        self.0.entry(service.to_uppercase()).or_default()
    }

    fn add(&mut self, instance: &Arc<Instance>, action: &'static str) {
        let shown = self.shown_of(instance.name().as_str());
        shown.push((Arc::clone(instance), action));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many instances have each status, as clients count theirs: `DOWN_1_UP_2_`.
    pub(super) fn hash_code(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (instance, _) in self.0.values().flatten() {
            *counts.entry(word(instance.status())).or_default() += 1;
        }
        let mut code = String::new();
        for (status, count) in counts {
            // Writing to a string cannot fail.
            let _ = write!(code, "{status}_{count}_");
        }
        code
    }

    /// The list as an answer.
    pub(super) async fn write(
        &self,
        catalog: &Catalog,
        format: BodyFormat,
        (version, hash_code): (Revision, &str),
    ) -> Vec<u8> {
        let mut out = BodyWriter::new(format);
        out.open("applications");
        // Some clients read no changes while neither the version nor the hash code is another one.
        out.text("versions__delta", &version.to_string());
        out.text("apps__hashcode", hash_code);
        out.open_list("application");
        for (app, shown) in &self.0 {
            out.open_item("application");
            write_app(&mut out, catalog, app, shown).await;
            out.close("application");
        }
        out.close_list();
        out.close("applications");
        out.finish()
    }

    /// The only app of the list as an answer; none if it is empty.
    pub(super) async fn write_only(
        &self,
        catalog: &Catalog,
        format: BodyFormat,
    ) -> Option<Vec<u8>> {
        let (app, shown) = self.0.iter().next()?;
        let mut out = BodyWriter::new(format);
        out.open("application");
        write_app(&mut out, catalog, app, shown).await;
        out.close("application");
        Some(out.finish())
    }
}

/// Lets other tasks of the thread have a turn after each part of a long list.
async fn take_turns(at: usize) {
    if at % AT_ONCE == AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}

async fn write_app(out: &mut BodyWriter, catalog: &Catalog, app: &str, shown: &[ShownInstance]) {
    out.text("name", app);
    out.open_list("instance");
    for (at, (instance, action)) in shown.iter().enumerate() {
        take_turns(at).await;
        let moment = ViewMoment {
            renewed: catalog.last_heartbeat(instance),
            action,
        };
        out.open_item("instance");
        InstanceView::new(instance).write(out, moment);
        out.close("instance");
    }
    out.close_list();
}

/// One instance as an answer.
pub(super) fn one(catalog: &Catalog, instance: &Instance, format: BodyFormat) -> Vec<u8> {
    let mut out = BodyWriter::new(format);
    let moment = ViewMoment {
        renewed: catalog.last_heartbeat(instance),
        action: "ADDED",
    };
    out.open("instance");
    InstanceView::new(instance).write(&mut out, moment);
    out.close("instance");
    out.finish()
}

/// What has changed lately: each instance once, with its last change. When the log does not reach back far enough, all
/// instances count as changed; a client that missed a removal sees that the hash codes differ, and reads everything.
async fn changed(
    registry: &Registry,
    snapshot: &Snapshot,
    sight: &Sight,
    now: Timestamp,
) -> Result<AppList, Compacted> {
    let since = Timestamp(now.0 - DELTA_MS);
    let (start, is_whole) = start_of(registry, since);
    let mut list = AppList::default();
    if !is_whole {
        list = AppList::of(snapshot);
    }
    let mut last: HashMap<(ServiceName, ServiceId), Arc<Event>> = HashMap::new();
    let mut cursor = start;
    loop {
        let events = registry.since(cursor, EVENTS_AT_ONCE)?;
        let Some(newest) = events.last() else {
            break;
        };
        cursor = newest.revision;
        for event in events {
            if let (Some(name), Some(id)) = (&event.service_name, &event.service_id)
                && name.as_str() != CANARY
                && sight.sees(name.as_str())
            {
                last.insert((name.clone(), id.clone()), event);
            }
        }
        tokio::task::yield_now().await;
    }
    for event in last.into_values() {
        let Some(instance) = &event.instance else {
            continue;
        };
        match event.kind {
            EventKind::Deregistered | EventKind::Expired => list.add(instance, "DELETED"),
            _ if !is_whole => {}
            EventKind::Registered => list.add(instance, "ADDED"),
            _ => list.add(instance, "MODIFIED"),
        }
    }
    Ok(list)
}

/// The revision before the first change at or after `since`, and whether the log reaches back so far.
fn start_of(registry: &Registry, since: Timestamp) -> (Revision, bool) {
    let time_of = |revision: u64| {
        let before = Revision(revision.saturating_sub(1));
        let events = registry.since(before, 1).ok()?;
        Some(events.first()?.timestamp)
    };
    let oldest = registry.oldest().0;
    let (mut low, mut high) = (oldest, registry.newest().0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match time_of(middle) {
            // It has left the log, or is too old.
            None => low = middle + 1,
            Some(time) if time < since => low = middle + 1,
            Some(_) => high = middle,
        }
    }
    let is_whole = oldest <= 1 || low > oldest;
    (Revision(low.saturating_sub(1)), is_whole)
}

/// The two lists that every client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum AppsQuestion {
    All,
    Delta,
}

/// The last answers to callers that see everything, each for one place of the log.
#[derive(Debug, Default)]
pub(in crate::http) struct EurekaAnswers {
    kept: Mutex<[Option<KeptAnswer>; 4]>,
}

#[derive(Debug)]
struct KeptAnswer {
    revision: Revision,
    made: Instant,
    body: Bytes,
    _memory: Reservation,
}

impl EurekaAnswers {
    /// The answer to a question, from memory if nothing has changed since it was made.
    pub(super) async fn answer(
        &self,
        question: AppsQuestion,
        catalog: &Catalog,
        sight: &Sight,
        format: BodyFormat,
    ) -> Bytes {
        if !sight.sees_all_services() {
            return made(question, catalog, sight, format).await;
        }
        let place = usize::from(question == AppsQuestion::Delta) * 2
            + usize::from(format == BodyFormat::Json);
        // Read before the answer is made: it may show more, and is then replaced at the next change.
        let revision = catalog.registry().newest();
        if let Some(kept) = &self.kept.lock()[place]
            && kept.revision == revision
            && kept.made.elapsed() < AGE_MAX
        {
            return kept.body.clone();
        }
        let body = made(question, catalog, sight, format).await;
        let memory = catalog.registry().reserve_beyond(body.len());
        self.kept.lock()[place] = Some(KeptAnswer {
            revision,
            made: Instant::now(),
            body: body.clone(),
            _memory: memory,
        });
        body
    }
}

async fn made(
    question: AppsQuestion,
    catalog: &Catalog,
    sight: &Sight,
    format: BodyFormat,
) -> Bytes {
    let registry = catalog.registry();
    let version = registry.newest();
    let snapshot = sight.of(registry.snapshot());
    let all = AppList::of(&snapshot);
    let code = all.hash_code();
    let list = match question {
        AppsQuestion::All => all,
        // The log has moved on while it was read: everything is an answer too.
        AppsQuestion::Delta => {
            let changed = changed(registry, &snapshot, sight, catalog.now()).await;
            changed.unwrap_or(all)
        }
    };
    list.write(catalog, format, (version, &code)).await.into()
}
