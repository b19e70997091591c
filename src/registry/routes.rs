//! The gateway's routes: a small table that is replaced as a whole.

use std::{cmp::Reverse, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::model::{Revision, Route, RouteId};

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

    /// The list with a route in place of one with the same id, or without it. Linear: nothing is sorted.
    fn changed(&self, revision: Revision, id: &RouteId, route: Option<&Arc<Route>>) -> Self {
        let others = self.list.iter().filter(|one| one.route_id != *id);
        let mut list: Vec<_> = others.cloned().collect();
        if let Some(route) = route {
            let at = list.partition_point(|one| rank(one) < rank(route));
            list.insert(at, Arc::clone(route));
        }
        Self {
            revision,
            list: list.into(),
        }
    }
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

    /// Shows a route that is set, or hides one that is removed.
    pub(super) fn publish(&self, revision: Revision, id: &RouteId, route: Option<&Arc<Route>>) {
        let routes = self.routes.load().changed(revision, id, route);
        self.routes.store(Arc::new(routes));
    }
}
