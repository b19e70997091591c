//! The checks that sessions depend on: a session ends when one of them is critical or gone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    checks,
    nodes::{SeenInstance, node_entry_id},
    state::{ConsulApp, ConsulState},
};
use crate::{
    catalog::{Caller, Door},
    kv::{KvSession, KvTopic},
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

impl ConsulState {
    /// Whether a node has an instance, or is the local one.
    pub(super) fn has_node(&self, node: &str) -> bool {
        node == self.node.name
            || self.app.registry.instance(&node_entry_id(node)).is_some()
            || self
                .every_instance()
                .any(|one| SeenInstance::of(&one).is_on(node, &self.node))
    }

    /// What a check of a node says, of the node itself or of a service on it; none when there is no such check.
    pub(super) fn standing_of(&self, node: &str, check: &str) -> Option<Standing> {
        self.find_standing(node, check, &mut HashMap::new())
    }

    fn find_standing(
        &self,
        node: &str,
        check: &str,
        places: &mut SessionPlaces,
    ) -> Option<Standing> {
        if check == SERF_HEALTH {
            return self.has_node(node).then_some(Standing::Passing);
        }
        let place = (node.to_owned(), check.to_owned());
        if let Some(id) = places.get(&place)
            && let Some(instance) = self.app.registry.instance(id)
            && let Some(standing) = self.standing_at(&instance, node, check)
        {
            return Some(standing);
        }
        let found = self.every_instance().find_map(|instance| {
            let standing = self.standing_at(&instance, node, check)?;
            Some((instance.id().as_str().into(), standing))
        });
        let (id, standing) = found?;
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(place, id);
        Some(standing)
    }

    fn standing_at(&self, instance: &Arc<Instance>, node: &str, check: &str) -> Option<Standing> {
        let seen = SeenInstance::of(instance);
        if !seen.is_on(node, &self.node) {
            return None;
        }
        let checks = checks::all(&seen);
        let found = checks.iter().find(|one| one.id == check)?;
        // The registry knows of a fault that no check shows: a lost lease, for instance.
        let fault = format!("service:{}:status", seen.id);
        let is_down = checks.iter().any(|one| one.id == fault);
        match is_down {
            true => Some(Standing::Critical),
            false => Some(found.standing),
        }
    }

    fn every_instance(&self) -> impl Iterator<Item = Arc<Instance>> + use<> {
        let services = self.app.registry.services();
        services.into_iter().flat_map(|service| {
            let view = service.view();
            view.instances.values().cloned().collect::<Vec<_>>()
        })
    }

    /// The sessions of which a check is critical or gone.
    fn failed_sessions(&self, places: &mut SessionPlaces) -> Vec<Uuid> {
        let sessions = self.app.kv.sessions(&DAEMON, None);
        let sessions = sessions.map(|read| read.found).unwrap_or_default();
        let mut has_failed = |session: &KvSession| {
            let mut checks = session.draft.checks.iter();
            checks.any(|check| {
                let standing = self.find_standing(&session.draft.node, check.id(), places);
                standing.is_none_or(|standing| standing == Standing::Critical)
            })
        };
        let failed = sessions.iter().filter(|session| has_failed(session));
        failed.map(|session| session.id).collect()
    }
}

/// The instance of each check, by node and id. A hint only: what it says is looked at.
type SessionPlaces = HashMap<(String, String), Box<str>>;

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
