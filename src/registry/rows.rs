//! The registry as rows of tables, for a journal that outlives the process: what a batch changes, and how all of it
//! is read again.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{Record, codec, connection_leases::EARLIER_CONNECTION};
use crate::model::{Epoch, Event, EventKind, Instance, Lease, Revision, Route, ServiceName};

const COUNTERS: &str = "registry";
const INSTANCES: &str = "registry.instances";
const ROUTES: &str = "registry.routes";
const GUARDS: &str = "registry.guards";
const EVENTS: &str = "registry.events";
/// The only row of [`COUNTERS`].
const KEY: &[u8] = b"counters";

/// Takes changes of rows that are committed together.
pub trait Rows {
    /// Sets a row to what `write` appends.
    fn put(&mut self, table: &str, key: &[u8], write: impl FnOnce(&mut Vec<u8>));

    /// Removes a row, whether or not it is there.
    fn delete(&mut self, table: &str, key: &[u8]);
}

/// A batch that outlives the registry's lock.
#[derive(Clone, Debug)]
pub struct OwnedBatch {
    pub(super) epoch: Epoch,
    pub(super) incarnation: u64,
    pub(super) records: Vec<Record>,
}

impl OwnedBatch {
    /// Writes its changes. Of the events the newest `events_max` are kept.
    pub fn write(&self, events_max: usize, rows: &mut impl Rows) {
        for record in &self.records {
            match record {
                Record::Silent(instance) => put_instance(rows, instance),
                // The record behind it has the same instance.
                Record::Moved(event) => put_event(rows, event, events_max),
                Record::Event(event) => {
                    put_event(rows, event, events_max);
                    put_change(rows, event);
                }
            }
        }
        rows.put(COUNTERS, KEY, |out| {
            codec::put_counters(out, self.epoch, self.incarnation);
        });
    }
}

fn put_instance(rows: &mut impl Rows, instance: &Instance) {
    let key = instance.id().as_str().as_bytes();
    rows.put(INSTANCES, key, |out| codec::put_instance(out, instance));
}

fn put_event(rows: &mut impl Rows, event: &Event, events_max: usize) {
    let key = event.revision.0.to_be_bytes();
    rows.put(EVENTS, &key, |out| codec::put_event(out, event));
    let outdated = event.revision.0.checked_sub(events_max as u64);
    if let Some(outdated) = outdated.filter(|revision| *revision > 0) {
        rows.delete(EVENTS, &outdated.to_be_bytes());
    }
}

fn put_change(rows: &mut impl Rows, event: &Event) {
    match (event.kind, &event.instance, &event.route) {
        (EventKind::RouteSet, _, Some(route)) => {
            let key = route.route_id.as_str().as_bytes();
            rows.put(ROUTES, key, |out| codec::put_route(out, route));
        }
        (EventKind::RouteRemoved, _, Some(route)) => {
            rows.delete(ROUTES, route.route_id.as_str().as_bytes());
        }
        (EventKind::Deregistered | EventKind::Expired, Some(known), _) => {
            rows.delete(INSTANCES, known.id().as_str().as_bytes());
        }
        (EventKind::GuardEngaged | EventKind::GuardReleased, ..) => {
            let Some(name) = &event.service_name else {
                return;
            };
            let key = name.as_str().as_bytes();
            if event.kind == EventKind::GuardEngaged {
                rows.put(GUARDS, key, |_| ());
            } else {
                rows.delete(GUARDS, key);
            }
        }
        (_, Some(instance), _) => put_instance(rows, instance),
        _ => (),
    }
}

/// The state that an earlier run stored.
#[derive(Debug)]
pub struct Restored {
    pub(super) epoch: Epoch,
    /// The highest incarnation given.
    pub(super) incarnation: u64,
    pub(super) instances: Vec<Arc<Instance>>,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) guards: Vec<ServiceName>,
    /// The newest events, none left out between them.
    pub(super) events: VecDeque<Event>,
    /// Rows of older events.
    outdated: Vec<Revision>,
}

/// A row that is not what its table should hold.
#[derive(Clone, Debug, thiserror::Error)]
#[error("a row of table \"{table}\" cannot be read: it is damaged, or a later version wrote it")]
pub struct UnreadableRow {
    /// Its table.
    pub table: &'static str,
}

impl Restored {
    /// Reads all tables; `rows_of` gives the rows of one, in the order of their keys. None when no registry was ever
    /// written.
    ///
    /// # Errors
    /// That of `rows_of`, or a row cannot be read.
    pub fn read<E, R>(
        events_max: usize,
        rows_of: impl Fn(&'static str) -> R,
    ) -> Result<Option<Self>, E>
    where
        E: From<UnreadableRow>,
        R: Iterator<Item = Result<(Bytes, Bytes), E>>,
    {
        let Some(counters) = rows_of(COUNTERS).next() else {
            return Ok(None);
        };
        let unreadable = |table| move |_| E::from(UnreadableRow { table });
        let counters = codec::counters(&counters?.1);
        let (epoch, incarnation) = counters.map_err(unreadable(COUNTERS))?;
        let mut restored = Self {
            epoch,
            incarnation,
            instances: Vec::new(),
            routes: Vec::new(),
            guards: Vec::new(),
            events: VecDeque::new(),
            outdated: Vec::new(),
        };
        for row in rows_of(INSTANCES) {
            let mut instance = codec::instance(&row?.1).map_err(unreadable(INSTANCES))?;
            if let Lease::Connection(connection) = &mut instance.lease {
                // The broker of this run may give the stored number to another connection.
                *connection = EARLIER_CONNECTION;
            }
            restored.instances.push(Arc::new(instance));
        }
        for row in rows_of(ROUTES) {
            let route = codec::route(&row?.1).map_err(unreadable(ROUTES))?;
            restored.routes.push(Arc::new(route));
        }
        for row in rows_of(GUARDS) {
            let name = String::from_utf8_lossy(&row?.0).into_owned();
            let name = ServiceName::parse(&name);
            let name = name.map_err(|_| UnreadableRow { table: GUARDS })?;
            restored.guards.push(name);
        }
        for row in rows_of(EVENTS) {
            let event = codec::event(&row?.1, epoch).map_err(unreadable(EVENTS))?;
            restored.add(event, events_max);
        }
        Ok(Some(restored))
    }

    fn add(&mut self, event: Event, events_max: usize) {
        let follows = |last: &Event| event.revision == last.revision.next();
        // A gap is possible after a repair only: what is before it can't be read in order any more.
        if !self.events.back().is_none_or(follows) {
            let old = self.events.drain(..);
            self.outdated.extend(old.map(|event| event.revision));
        }
        self.events.push_back(event);
        if self.events.len() > events_max {
            let old = self.events.pop_front();
            self.outdated.extend(old.map(|event| event.revision));
        }
    }

    /// The number of instances.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    /// Removes the rows that nothing reads any more.
    pub fn clean(&self, rows: &mut impl Rows) {
        for revision in &self.outdated {
            rows.delete(EVENTS, &revision.0.to_be_bytes());
        }
    }
}
