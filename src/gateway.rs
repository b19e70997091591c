//! Gateway routes with the healthy instances behind them: read as a whole, resolved, and followed. Knows no
//! JSON and no socket.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Caller, Catalog, PickPolicy, Sight},
    model::{Instance, InstanceFilter, Revision, Route},
    registry::{Routes, View},
};

/// The state that all gateways share.
#[derive(Debug)]
pub struct Gateway {
    catalog: Catalog,
    /// Counts changes of a route, or of a service that a route names.
    changes: watch::Sender<u64>,
    current: ArcSwapOption<RoutedInstances>,
}

impl Gateway {
    /// The routes of one catalog.
    pub fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            changes: watch::Sender::new(0),
            current: ArcSwapOption::empty(),
        }
    }

    /// Counts changes for those who wait for one, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut follower = self.catalog.follow_routes();
        loop {
            self.changes.send_modify(|changes| *changes += 1);
            tokio::select! {
                () = follower.changed() => (),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Wakes at each change while [`Self::run`] runs.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Every route with its healthy instances as they are now; the same value until one of them changes.
    pub fn instances(&self) -> Arc<RoutedInstances> {
        let registry = self.catalog.registry();
        // Read first: a change that is newer may be shown in part only.
        let newest = registry.newest();
        let routes = registry.routes();
        let services: Box<[_]> = routes
            .list
            .iter()
            .map(|route| registry.service(route.service_name.as_str()))
            .map(|service| service.map(|service| service.view()))
            .collect();
        let shown = services.iter().flatten().map(|view| view.revision);
        let last = shown.fold(routes.revision, Ord::max);
        let index = last.min(newest);
        let is_whole = last <= newest;
        let current = self.current.load();
        if let Some(current) = current
            .as_ref()
            .filter(|one| is_whole && one.index == index)
        {
            return Arc::clone(current);
        }
        let instances = Arc::new(RoutedInstances {
            index,
            routes,
            services,
            encoded: OnceLock::new(),
        });
        if is_whole {
            self.current.store(Some(Arc::clone(&instances)));
        }
        instances
    }

    /// The route of a request, the best match first, and one of its healthy instances in turn.
    ///
    /// # Errors
    /// No route matches that the caller may see, or its service has no healthy instance.
    pub fn resolve(
        &self,
        caller: &Caller,
        path: &str,
        method: Option<&str>,
    ) -> Result<ResolvedRoute, Unresolved> {
        let routes = self.catalog.registry().routes();
        let route = routes.resolve(path, method);
        let sight = self.catalog.sight(caller);
        let route = route.filter(|route| sight.sees_route(route));
        let route = route.ok_or(Unresolved::NoRoute)?;
        let (name, any) = (route.service_name.as_str(), InstanceFilter::default());
        let instance = self
            .catalog
            .pick(caller, name, &any, PickPolicy::RoundRobin);
        Ok(ResolvedRoute {
            instance: instance.ok_or(Unresolved::NoneHealthy)?,
            path: forwarded(route, path),
            route: Arc::clone(route),
        })
    }
}

/// Every route with its healthy instances, at one revision.
#[derive(Debug)]
pub struct RoutedInstances {
    /// The last change that is shown.
    pub index: Revision,
    routes: Arc<Routes>,
    /// The service of each route, if there is one.
    services: Box<[Option<Arc<View>>]>,
    encoded: OnceLock<Bytes>,
}

impl RoutedInstances {
    /// Each route, best match first.
    pub fn routes(&self) -> impl Iterator<Item = (&Arc<Route>, &[Arc<Instance>])> {
        self.routes
            .list
            .iter()
            .zip(self.services.iter().map(healthy))
    }

    /// What is seen of it.
    #[must_use]
    pub fn seen_by(&self, sight: &Sight) -> Self {
        let seen = self.routes.list.iter().zip(&self.services);
        let services = seen.filter(|(route, _)| sight.sees_route(route));
        Self {
            index: self.index,
            services: services.map(|(_, service)| service.clone()).collect(),
            routes: Arc::new(sight.routes(&self.routes)),
            encoded: OnceLock::new(),
        }
    }

    /// Its bytes, made by the first caller; every caller must pass the same `encode`.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Vec<u8>) -> Bytes {
        self.encoded.get_or_init(|| encode(self).into()).clone()
    }
}

/// The healthy instances of a service; none of one that does not exist.
fn healthy(view: &Option<Arc<View>>) -> &[Arc<Instance>] {
    view.as_ref().map_or(&[], |view| view.healthy())
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct ResolvedRoute {
    /// The route that it matches.
    pub route: Arc<Route>,
    /// The instance that it is sent to.
    pub instance: Arc<Instance>,
    /// The path that the instance is asked for.
    pub path: String,
}

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unresolved {
    /// No route matches it.
    #[error("Route not found")]
    NoRoute,
    /// The service of its route has no healthy instance.
    #[error("No healthy instances found")]
    NoneHealthy,
}

/// The path behind a prefix that the route strips.
fn forwarded(route: &Route, path: &str) -> String {
    let rest = match path.strip_prefix(&*route.path_prefix) {
        Some(rest) if route.strip_prefix => rest,
        _ => path,
    };
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{slash}{rest}")
}
