//! Follows the gateway routes together with the services that they name.

use std::collections::{BTreeSet, HashMap};

use futures_util::{
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::watch;

use super::Catalog;
use crate::{
    model::{Revision, ServiceName},
    registry::{Following, Registry},
};

impl Catalog {
    /// Follows one service, which need not exist yet.
    pub fn follow_service(&self, name: &ServiceName) -> Following {
        self.registry.follow_service(name)
    }

    /// Follows all routes and the services that they name.
    pub fn follow_routes(&self) -> RouteFollower {
        RouteFollower::new(self.registry.clone())
    }
}

/// Waits for changes of any route and of any service that a route names.
#[derive(Debug)]
pub struct RouteFollower {
    registry: Registry,
    routes: watch::Receiver<Revision>,
    waits: Waits,
    handles: HashMap<ServiceName, AbortHandle>,
}

impl RouteFollower {
    fn new(registry: Registry) -> Self {
        let mut follower = Self {
            routes: registry.follow_routes(),
            registry,
            waits: FuturesUnordered::new(),
            handles: HashMap::new(),
        };
        follower.follow_named();
        follower
    }

    /// Waits for a change since the last call or since the following began. A read after it
    /// misses nothing. Cancel safe.
    pub async fn changed(&mut self) {
        tokio::select! {
            changed = self.routes.changed() => match changed {
                Ok(()) => self.follow_named(),
                // The sender is in the registry that is held here.
                Err(_) => std::future::pending().await,
            },
            () = service_changed(&mut self.waits, &mut self.handles) => (),
        }
    }

    /// Follows the services that routes name now, and no others.
    fn follow_named(&mut self) {
        let routes = self.registry.routes();
        let names: BTreeSet<_> = routes.list.iter().map(|one| &one.service_name).collect();
        self.handles.retain(|name, handle| {
            let stays = names.contains(name);
            if !stays {
                handle.abort();
            }
            stays
        });
        for name in names {
            if !self.handles.contains_key(name) {
                let following = self.registry.follow_service(name);
                wait(&self.waits, &mut self.handles, following);
            }
        }
    }
}

type Waits = FuturesUnordered<BoxFuture<'static, Result<Following, Aborted>>>;

fn wait(waits: &Waits, handles: &mut HashMap<ServiceName, AbortHandle>, mut following: Following) {
    let (handle, registration) = AbortHandle::new_pair();
    let name = following.service().name().clone();
    let changed = async move {
        following.changed().await;
        following
    };
    handles.insert(name, handle);
    waits.push(Box::pin(Abortable::new(changed, registration)));
}

async fn service_changed(waits: &mut Waits, handles: &mut HashMap<ServiceName, AbortHandle>) {
    loop {
        match waits.next().await {
            Some(Ok(following)) => {
                wait(waits, handles, following);
                return;
            }
            // A service that no route names any more.
            Some(Err(Aborted)) => {}
            None => std::future::pending().await,
        }
    }
}
