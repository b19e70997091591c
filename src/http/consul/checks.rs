//! The checks of an instance as Consul names and shows them, and where a check is found by its id.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::{
    nodes::{NODE_SERVICE, SeenInstance},
    state::ConsulState,
};
use crate::{
    catalog::Sight,
    model::{Check, CheckKind, Instance, Lease, Span, Standing, Status},
};

/// The check of `health_check_url`.
const URL_CHECK: &str = "health_check_url";
/// Remembered places of checks.
const PLACES_MAX: usize = 65_536;

/// One check as it is shown.
#[derive(Clone, Debug)]
pub(in crate::http) struct SeenCheck {
    pub(in crate::http) id: String,
    pub(in crate::http) name: String,
    pub(in crate::http) standing: Standing,
    pub(in crate::http) notes: String,
    pub(in crate::http) output: String,
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) interval: String,
    pub(in crate::http) timeout: String,
}

impl SeenCheck {
    /// A check that no one defined: it follows from something else.
    pub(in crate::http) fn synthetic(id: &str, name: &str, standing: Standing) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            standing,
            notes: String::new(),
            output: String::new(),
            kind: "",
            interval: String::new(),
            timeout: String::new(),
        }
    }

    fn of(seen: &SeenInstance, check: &Check) -> Self {
        let shown = seen.instance.last_seen.checks();
        let shown = shown.as_deref().and_then(|all| all.find(&check.name));
        let (standing, output) = match shown {
            Some(shown) => (shown.standing, shown.output.to_string()),
            None => (before_reports(&seen.instance, check), String::new()),
        };
        let title = check.options.as_ref().map(|options| &*options.title);
        let of_service = format!("Service '{}' check", seen.instance.name());
        Self {
            id: check_id(&seen.id, check),
            name: title
                .filter(|title| !title.is_empty())
                .map_or(of_service, str::to_owned),
            standing,
            notes: check
                .options
                .as_ref()
                .map_or_else(String::new, |options| options.notes.to_string()),
            output,
            kind: check.kind.as_str(),
            interval: match check.kind {
                CheckKind::Ttl => String::new(),
                _ => Span(check.interval).to_string(),
            },
            timeout: match check.kind {
                CheckKind::Ttl => String::new(),
                _ => Span(check.timeout).to_string(),
            },
        }
    }
}

/// What a check says that has not been shown yet.
fn before_reports(instance: &Instance, check: &Check) -> Standing {
    match instance.observed {
        Status::Healthy => match check.initial() {
            Standing::Critical => Standing::Passing,
            other => other,
        },
        _ => check.initial(),
    }
}

/// The id of a check: its own in Consul's form, or one that names its instance.
fn check_id(service_id: &str, check: &Check) -> String {
    match check.options {
        Some(_) => check.name.to_string(),
        None => format!("service:{service_id}:{}", check.name),
    }
}

/// Every check of an instance, with those that follow from its state.
pub(in crate::http) fn all(seen: &SeenInstance) -> Vec<SeenCheck> {
    let instance = &seen.instance;
    let registration = &instance.registration;
    let mut checks: Vec<_> = registration
        .checks
        .iter()
        .map(|check| SeenCheck::of(seen, check))
        .collect();
    if registration.health_check_url.is_some() {
        let shown = instance.last_seen.checks();
        let shown = shown.as_deref().and_then(|all| all.find(URL_CHECK));
        let id = format!("service:{}:{URL_CHECK}", seen.id);
        let name = format!("Service '{}' check", instance.name());
        let standing = match (shown, instance.observed) {
            (Some(shown), _) => shown.standing,
            (None, Status::Healthy) => Standing::Passing,
            (None, _) => Standing::Critical,
        };
        let mut check = SeenCheck::synthetic(&id, &name, standing);
        check.kind = "http";
        check.output = shown.map_or_else(String::new, |shown| shown.output.to_string());
        checks.push(check);
    }
    let is_node = instance.name().as_str() == NODE_SERVICE;
    if let Some(overridden) = &instance.overridden {
        let (id, name) = match is_node {
            true => ("_node_maintenance".to_owned(), "Node Maintenance Mode"),
            false => (
                format!("_service_maintenance:{}", seen.id),
                "Service Maintenance Mode",
            ),
        };
        let mut check = SeenCheck::synthetic(&id, name, Standing::Critical);
        check.notes = overridden.reason.as_deref().unwrap_or_default().to_owned();
        checks.push(check);
    }
    let fails = checks.iter().any(|one| one.standing == Standing::Critical);
    let is_lost = matches!(instance.lease, Lease::Held | Lease::Lost)
        || (checks.is_empty() && instance.status() != Status::Healthy);
    if is_lost && !fails && !is_node {
        // It must not pass for a healthy one.
        let id = format!("service:{}:status", seen.id);
        let mut check = SeenCheck::synthetic(&id, "Status in the registry", Standing::Critical);
        check.output = match &instance.reason {
            Some(reason) => format!("{}: {reason}", instance.status()),
            None => instance.status().to_string(),
        };
        checks.push(check);
    }
    checks
}

/// Where checks were found, by their ids. A hint only: what it says is looked at.
#[derive(Debug, Default)]
pub(in crate::http) struct CheckPlaces(Mutex<HashMap<Box<str>, Box<str>>>);

impl CheckPlaces {
    fn recall(&self, check: &str) -> Option<Box<str>> {
        self.0.lock().get(check).cloned()
    }

    fn note(&self, check: &str, instance: &str) {
        let mut places = self.0.lock();
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert(check.into(), instance.into());
    }
}

/// A check of the local node, and its instance.
#[derive(Debug)]
pub(in crate::http) struct FoundCheck {
    pub(in crate::http) seen: SeenInstance,
    /// Its name in the registration.
    pub(in crate::http) name: Box<str>,
    pub(in crate::http) is_reported: bool,
    /// A check of the registration that needs a heartbeat.
    pub(in crate::http) is_heartbeat: bool,
}

impl ConsulState {
    /// Finds a check of the local node by its id.
    pub(in crate::http) fn find_check(&self, sight: &Sight, id: &str) -> Option<FoundCheck> {
        if let Some(place) = self.places.recall(id)
            && let Some(found) = self.check_at(sight, &place, id)
        {
            return Some(found);
        }
        // The default id of a service's check names the service.
        if let Some(service) = id.strip_prefix("service:") {
            let shorter = service.rsplit_once(':').map(|(service, _)| service);
            let places = [Some(service), shorter].into_iter().flatten();
            let found = places
                .filter_map(|place| self.check_at(sight, place, id))
                .next();
            if found.is_some() {
                return found;
            }
        }
        let services = self.app.registry.services();
        let seen = services
            .iter()
            .filter(|service| sight.sees(service.name().as_str()));
        let instances = seen.flat_map(|service| {
            let view = service.view();
            view.instances.values().cloned().collect::<Vec<_>>()
        });
        let found = instances
            .filter_map(|instance| check_of(&instance, id))
            .next()?;
        self.places.note(id, found.seen.instance.id().as_str());
        Some(found)
    }

    fn check_at(&self, sight: &Sight, place: &str, id: &str) -> Option<FoundCheck> {
        let instance = self.app.registry.instance(place)?;
        let instance = Some(instance).filter(|known| sight.sees(known.name().as_str()))?;
        check_of(&instance, id)
    }
}

fn check_of(instance: &std::sync::Arc<Instance>, id: &str) -> Option<FoundCheck> {
    let checks = &instance.registration.checks;
    let mut checks = checks.iter();
    let check = checks.find(|check| check_id(instance.id().as_str(), check) == id)?;
    let seen = SeenInstance::of(instance);
    // Checks of other nodes are not the agent's.
    seen.node.is_none().then(|| FoundCheck {
        name: check.name.clone(),
        is_reported: check.is_reported(),
        is_heartbeat: check.kind == CheckKind::Ttl && check.options.is_none(),
        seen,
    })
}
