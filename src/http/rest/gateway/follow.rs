//! Follows the routes and the services that they name, once for all gateways.

use std::collections::{BTreeSet, HashMap};

use futures_util::{
    future::{AbortHandle, Abortable, Aborted, BoxFuture},
    stream::{FuturesUnordered, StreamExt},
};

use crate::{
    http::state::Shared,
    model::ServiceName,
    registry::{Following, Registry},
};

/// Counts the changes that gateways wait for, until the door closes.
pub(in crate::http) async fn follow(shared: Shared) {
    let mut routes = shared.registry.follow_routes();
    let mut named = Named::default();
    loop {
        // Followed before it is counted, so that who looks again misses nothing.
        named.follow(&shared.registry);
        shared.gateway.changes.send_modify(|changes| *changes += 1);
        loop {
            tokio::select! {
                changed = routes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = named.changed() => {
                    shared.gateway.changes.send_modify(|changes| *changes += 1);
                }
                () = shared.closing.cancelled() => return,
            }
        }
    }
}

/// The services that routes name.
#[derive(Default)]
struct Named {
    waits: FuturesUnordered<BoxFuture<'static, Result<Following, Aborted>>>,
    handles: HashMap<ServiceName, AbortHandle>,
}

impl Named {
    /// Follows the services that routes name now, and no others.
    fn follow(&mut self, registry: &Registry) {
        let routes = registry.routes();
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
                self.wait(registry.follow_service(name));
            }
        }
    }

    fn wait(&mut self, mut following: Following) {
        let (handle, registration) = AbortHandle::new_pair();
        let name = following.service().name().clone();
        let changed = async move {
            following.changed().await;
            following
        };
        self.handles.insert(name, handle);
        self.waits
            .push(Box::pin(Abortable::new(changed, registration)));
    }

    /// Waits until one of them changed. Cancel safe.
    async fn changed(&mut self) {
        loop {
            match self.waits.next().await {
                Some(Ok(following)) => {
                    self.wait(following);
                    return;
                }
                // One that no route names any more.
                Some(Err(Aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }
}
