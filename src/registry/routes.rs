//! The gateway's routes: a small table that is replaced as a whole.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Record;
use crate::model::{EventKind, Revision, Route, RouteId};

/// Every route at one revision.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// The last change of a route, and of nothing else.
    pub revision: Revision,
    /// Best first: longest prefix, then highest priority, then id.
    pub list: Arc<[Arc<Route>]>,
}

impl Routes {
    /// The route a request belongs to: the first that matches.
    pub fn resolve(&self, path: &str, method: Option<&str>) -> Option<&Arc<Route>> {
        self.list.iter().find(|route| {
            route.matches_path(path) && method.is_none_or(|method| route.matches_method(method))
        })
    }

    /// The list with these routes in place of those with the same ids, or without them. About linear: what is sorted
    /// is nearly sorted.
    fn changed(&self, revision: Revision, changes: &RouteChanges<'_>) -> Self {
        let others = self.list.iter();
        let others = others.filter(|one| !changes.contains_key(&one.route_id));
        let mut list: Vec<_> = others.cloned().collect();
        list.extend(changes.values().copied().flatten().cloned());
        list.sort_by(|one, other| rank(one).cmp(&rank(other)));
        Self {
            revision,
            list: list.into(),
        }
    }
}

/// What becomes of routes: the last change of each.
pub(super) type RouteChanges<'a> = HashMap<&'a RouteId, Option<&'a Arc<Route>>>;

/// What a batch changes, with the revision of the last change.
pub(super) fn changes_of(records: &[Record]) -> Option<(Revision, RouteChanges<'_>)> {
    let mut changes = RouteChanges::new();
    let mut newest = None;
    for record in records {
        if let Record::Event(event) = record
            && let Some(route) = &event.route
        {
            let set = (event.kind == EventKind::RouteSet).then_some(route);
            changes.insert(&route.route_id, set);
            newest = Some(event.revision);
        }
    }
    newest.map(|newest| (newest, changes))
}

/// The order in which routes are tried.
fn rank(route: &Route) -> (Reverse<usize>, Reverse<i32>, &RouteId) {
    let length = route.path_prefix.len();
    (Reverse(length), Reverse(route.priority), &route.route_id)
}

/// The routes as readers see them.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) routes: ArcSwap<Routes>,
    pub(super) changed: watch::Sender<Revision>,
}

impl Default for RouteTable {
    fn default() -> Self {
        Self {
            routes: ArcSwap::default(),
            changed: watch::Sender::new(Revision::default()),
        }
    }
}

impl RouteTable {
    /// Notes a change of an earlier run.
    pub(super) fn note(&self, revision: Revision) {
        let list = Arc::clone(&self.routes.load().list);
        self.routes.store(Arc::new(Routes { revision, list }));
    }

    /// Shows the routes of an earlier run.
    pub(super) fn fill(&self, routes: &[Arc<Route>]) {
        let changes = routes.iter().map(|route| (&route.route_id, Some(route)));
        let known = self.routes.load();
        let newest = routes.iter().map(|route| route.revision).max();
        let newest = newest.map_or(known.revision, |newest| newest.max(known.revision));
        let filled = known.changed(newest, &changes.collect());
        self.routes.store(Arc::new(filled));
    }

    /// Shows routes that are set, and hides those that are removed, unless that was done.
    pub(super) fn publish(&self, revision: Revision, changes: &RouteChanges<'_>) {
        let known = self.routes.load();
        if known.revision < revision {
            self.routes
                .store(Arc::new(known.changed(revision, changes)));
        }
    }
}
