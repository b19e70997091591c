//! The gateway's routes: a small table that is replaced as a whole.

use std::{collections::BTreeMap, sync::Arc};

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

    fn of(revision: Revision, by_id: &BTreeMap<RouteId, Arc<Route>>) -> Self {
        let mut list: Vec<_> = by_id.values().cloned().collect();
        list.sort_by(|one, two| {
            let rank = |route: &Route| (route.path_prefix.len(), route.priority);
            rank(two)
                .cmp(&rank(one))
                .then_with(|| one.route_id.cmp(&two.route_id))
        });
        Self {
            revision,
            list: list.into(),
        }
    }
}

/// The table as readers see it.
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
    pub(super) fn publish(&self, revision: Revision, by_id: &BTreeMap<RouteId, Arc<Route>>) {
        self.routes.store(Arc::new(Routes::of(revision, by_id)));
    }
}
