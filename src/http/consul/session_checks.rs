//! The checks that sessions depend on: a session ends when one of them is critical or gone.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    checks,
    nodes::SeenInstance,
    state::{ConsulApp, ConsulState},
};
use crate::{
    catalog::{Caller, Door, Sight},
    kv::{KvTopic, SessionDraft},
    model::{Instance, Standing},
};

/// The check that every node has. It is critical for no node: a node that is gone has none.
pub(super) const SERF_HEALTH: &str = "serfHealth";
/// Changes that follow each other closely are looked at together.
const PAUSE: Duration = Duration::from_millis(100);
const DAEMON: Caller = Caller::daemon(Door::Health);
/// After a session could not be ended.
const RETRY: Duration = Duration::from_secs(1);
/// Remembered places of checks.
const PLACES_MAX: usize = 65_536;

/// A check that a session depends on.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct CheckOfNode {
    node: Arc<str>,
    id: Arc<str>,
}

/// The checks of a session, in their order.
pub(super) fn of_session(draft: &SessionDraft) -> Vec<CheckOfNode> {
    let checks = draft.checks.iter().map(|check| CheckOfNode {
        node: Arc::clone(&draft.node),
        id: Arc::clone(check.id()),
    });
    checks.collect()
}

/// The instance that each check was found at. A hint only: what it says is looked at.
pub(super) type SessionPlaces = HashMap<CheckOfNode, Box<str>>;

impl ConsulState {
    /// Whether a node has an instance that a caller may see, or is the local one.
    pub(super) fn has_node(&self, sight: &Sight, node: &str) -> bool {
        let check = CheckOfNode {
            node: node.into(),
            id: SERF_HEALTH.into(),
        };
        let found = self.standings(sight, [check], &mut SessionPlaces::new());
        !found.is_empty()
    }

    /// What checks say that a caller may see, of nodes themselves or of services on them. One that does not exist is
    /// left out.
    pub(super) fn standings(
        &self,
        sight: &Sight,
        wanted: impl IntoIterator<Item = CheckOfNode>,
        places: &mut SessionPlaces,
    ) -> HashMap<CheckOfNode, Standing> {
        let mut found = HashMap::new();
        let mut missing: HashMap<Arc<str>, HashSet<Arc<str>>> = HashMap::new();
        for check in wanted {
            if found.contains_key(&check) {
                continue;
            }
            match self.standing_at_place(sight, &check, places) {
                Some(standing) => {
                    found.insert(check, standing);
                }
                None => {
                    missing.entry(check.node).or_default().insert(check.id);
                }
            }
        }
        // One look at the registry, however many checks are missing.
        for instance in self.instances_in(sight) {
            if missing.is_empty() {
                break;
            }
            let seen = SeenInstance::of(&instance);
            let node = self.node_name(&seen);
            let Some(ids) = missing.get_mut(node) else {
                continue;
            };
            for (id, standing) in standings_of(&seen) {
                let Some(id) = ids.take(&*id) else { continue };
                let check = CheckOfNode {
                    node: node.into(),
                    id,
                };
                if places.len() >= PLACES_MAX {
                    places.clear();
                }
                places.insert(check.clone(), instance.id().as_str().into());
                found.insert(check, standing);
            }
            if ids.is_empty() {
                missing.remove(node);
            }
        }
        found
    }

    /// What a check says that needs no search.
    fn standing_at_place(
        &self,
        sight: &Sight,
        check: &CheckOfNode,
        places: &SessionPlaces,
    ) -> Option<Standing> {
        if *check.id == *SERF_HEALTH && *check.node == *self.node.name {
            return Some(Standing::Passing);
        }
        let instance = self.app.registry.instance(places.get(check)?)?;
        let seen = SeenInstance::of(&instance);
        if !sight.sees(instance.name().as_str()) || self.node_name(&seen) != &*check.node {
            return None;
        }
        let mut standings = standings_of(&seen).into_iter();
        let found = standings.find(|(id, _)| **id == *check.id);
        found.map(|(_, standing)| standing)
    }

    fn node_name<'a>(&'a self, seen: &'a SeenInstance) -> &'a str {
        seen.node
            .as_ref()
            .map_or(&self.node.name, |node| &node.name)
    }

    fn instances_in<'a>(&self, sight: &'a Sight) -> impl Iterator<Item = Arc<Instance>> + use<'a> {
        let services = self.app.registry.services().into_iter();
        let services = services.filter(|service| sight.sees(service.name().as_str()));
        services.flat_map(|service| {
            let view = service.view();
            view.instances.values().cloned().collect::<Vec<_>>()
        })
    }

    /// The sessions of which a check is critical or gone.
    fn failed_sessions(&self, places: &mut SessionPlaces) -> Vec<Uuid> {
        let sessions = self.app.kv.sessions(&DAEMON, None);
        let sessions = sessions.map(|read| read.found).unwrap_or_default();
        let wanted = sessions.iter().map(|session| of_session(&session.draft));
        let wanted: Vec<_> = wanted.collect();
        let sight = self.app.catalog.sight(&DAEMON);
        let standings = self.standings(&sight, wanted.iter().flatten().cloned(), places);
        let fails = |check: &CheckOfNode| {
            let standing = standings.get(check);
            standing.is_none_or(|standing| *standing == Standing::Critical)
        };
        let failed = sessions.iter().zip(&wanted);
        let failed = failed.filter(|(_, checks)| checks.iter().any(fails));
        failed.map(|(session, _)| session.id).collect()
    }
}

/// What each check of an instance says. Its node exists, which is a check too.
fn standings_of(seen: &SeenInstance) -> Vec<(String, Standing)> {
    let checks = checks::all(seen);
    // The registry knows of a fault that no check shows: a lost lease, for instance.
    let fault = format!("service:{}:status", seen.id);
    let is_down = checks.iter().any(|one| one.id == fault);
    let standings = checks.into_iter().map(|check| match is_down {
        true => (check.id, Standing::Critical),
        false => (check.id, check.standing),
    });
    let node = (SERF_HEALTH.to_owned(), Standing::Passing);
    std::iter::once(node).chain(standings).collect()
}

impl ConsulApp {
    /// Ends sessions whose checks fail, until `stop`.
    pub async fn follow_sessions(self, stop: CancellationToken) {
        let state = self.state;
        let mut changed = state.app.registry.stamps().all.follow();
        let mut sessions = state.app.kv.follow(KvTopic::Sessions);
        let mut places = SessionPlaces::new();
        loop {
            changed.mark_unchanged();
            let mut is_late = false;
            for id in state.failed_sessions(&mut places) {
                // A full disk refuses it; the next look tries again.
                is_late |= state.app.kv.end_session(&DAEMON, id).await.is_err();
            }
            tokio::select! {
                () = stop.cancelled() => return,
                _ = changed.changed() => (),
                () = sessions.changed() => (),
                () = sleep(RETRY), if is_late => (),
            }
            sleep(PAUSE).await;
        }
    }
}
