//! Finds the leases that run out, in bounded steps, and logs what became of them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Registry,
    decide::{DECISIONS_MAX, Report, Turn},
    guard::{Guard, GuardConfig, Silent, Suspect},
    service::Tables,
    state::lease_ends_ms,
};
use crate::model::{EventKind, Lease, RemoveAfter, ServiceId, ServiceName};

/// How late a lease may be found to have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// The most suspects looked at in one step. No lock is held meanwhile.
const LOOKS_MAX: usize = 1024;
/// The most removed instances that one pass names in the log.
const NAMED_MAX: usize = 10;

/// The state of the expiry between its steps. It belongs to one task, so it is under no lock; its views of
/// the registry are lock-free.
#[derive(Debug)]
pub(super) struct Expiry {
    table: Arc<Tables>,
    config: GuardConfig,
    remove_after: RemoveAfter,
    guards: BTreeMap<ServiceName, Guard>,
    /// Instances of guards that ended.
    leaving: VecDeque<(ServiceId, Suspect)>,
    /// Suspects that are back.
    returning: VecDeque<ServiceId>,
    /// Whether the guard of a service engages, found once for each pass.
    judged: HashMap<ServiceName, Option<Silent>>,
    pass_ms: u64,
}

/// The next action.
#[derive(Debug)]
pub(super) enum Step {
    /// Decide this, and pass the result to [`Expiry::done`].
    Decide(Turn),
    /// Ask again.
    Again,
    /// The pass is over.
    Over,
}

impl Expiry {
    /// Starts with the guards that are engaged already.
    pub(super) fn new(
        table: Arc<Tables>,
        config: GuardConfig,
        remove_after: RemoveAfter,
        engaged: impl IntoIterator<Item = ServiceName>,
        now_ms: u64,
    ) -> Self {
        let mut expiry = Self {
            table,
            config,
            remove_after,
            guards: BTreeMap::new(),
            leaving: VecDeque::new(),
            returning: VecDeque::new(),
            judged: HashMap::new(),
            pass_ms: now_ms,
        };
        for name in engaged {
            let guard = Guard::new(now_ms, expiry.held_of(&name));
            expiry.guards.insert(name, guard);
        }
        expiry
    }

    fn held_of(&self, name: &ServiceName) -> Vec<ServiceId> {
        let view = self.table.service(name.as_str()).map(|one| one.view());
        let instances = view.iter().flat_map(|view| view.instances.values());
        let held = instances.filter(|one| one.lease == Lease::Held);
        held.map(|one| one.id().clone()).collect()
    }

    /// Begins a pass over everything that is due at `now_ms`.
    pub(super) fn begin(&mut self, now_ms: u64) {
        self.pass_ms = now_ms;
        self.judged.clear();
    }

    /// The next step of a pass. `due` gives at most so many instances whose timers are due.
    pub(super) fn next(&mut self, due: impl FnOnce(usize) -> Vec<ServiceId>) -> Step {
        if !self.leaving.is_empty() {
            let n = self.leaving.len().min(DECISIONS_MAX);
            return Step::Decide(Turn::Leave(self.leaving.iter().take(n).cloned().collect()));
        }
        if !self.returning.is_empty() {
            let n = self.returning.len().min(DECISIONS_MAX);
            return Step::Decide(Turn::Return(
                self.returning.iter().take(n).cloned().collect(),
            ));
        }
        let ids = due(DECISIONS_MAX);
        if !ids.is_empty() {
            let engages = self.judge(&ids);
            return Step::Decide(Turn::Due { ids, engages });
        }
        self.look()
    }

    /// Takes over what came of a step.
    pub(super) fn done(&mut self, turn: &Turn, report: &Report, now_ms: u64) {
        match turn {
            Turn::Due { .. } => {
                for name in &report.engaged {
                    let silent = self.judged.remove(name).flatten();
                    let ids = silent.map(|silent| silent.ids).unwrap_or_default();
                    self.guards.insert(name.clone(), Guard::new(now_ms, ids));
                }
                for held in &report.held {
                    if let Some(guard) = self.guards.get_mut(held.name()) {
                        guard.suspect(held.id(), now_ms);
                    }
                }
            }
            Turn::Return(ids) => drop(self.returning.drain(..ids.len())),
            Turn::Leave(ids) => drop(self.leaving.drain(..ids.len())),
            Turn::Release(name, _) => {
                let ended = self.guards.remove(name);
                let suspects = ended.into_iter().flat_map(Guard::into_suspects);
                self.leaving.extend(suspects);
            }
        }
    }

    /// Which services of these instances have a guard that engages.
    fn judge(&mut self, ids: &[ServiceId]) -> HashMap<ServiceName, (usize, usize)> {
        let mut engages = HashMap::new();
        for id in ids {
            let Some(instance) = self.table.instance(id.as_str()) else {
                continue;
            };
            let name = instance.name();
            if self.guards.contains_key(name) || engages.contains_key(name) {
                continue;
            }
            if !self.judged.contains_key(name) {
                let silent = self.silent(name);
                self.judged.insert(name.clone(), silent);
            }
            if let Some(Some(silent)) = self.judged.get(name) {
                engages.insert(name.clone(), (silent.ids.len(), silent.total));
            }
        }
        engages
    }

    fn silent(&self, name: &ServiceName) -> Option<Silent> {
        let service = self.table.service(name.as_str())?;
        let ends_ms = |one: &_| lease_ends_ms(one, self.remove_after);
        self.config.engages(&service.view(), self.pass_ms, ends_ms)
    }

    /// Looks at some suspects of a guard that is due.
    fn look(&mut self) -> Step {
        let pass_ms = self.pass_ms;
        let mut guards = self.guards.iter_mut();
        let Some((name, guard)) = guards.find(|(_, guard)| guard.is_due(pass_ms)) else {
            return Step::Over;
        };
        let ids = guard.next(LOOKS_MAX);
        if ids.is_empty() {
            return match guard.looked(&self.config, pass_ms) {
                Some(release) => Step::Decide(Turn::Release(name.clone(), release)),
                None => Step::Again,
            };
        }
        for id in &ids {
            let instance = self.table.instance(id.as_str());
            let instance = instance.filter(|instance| instance.name() == name);
            let is_back = guard.look(id, instance.as_deref());
            if is_back && instance.is_some_and(|instance| instance.lease == Lease::Held) {
                self.returning.push_back(id.clone());
            }
        }
        Step::Again
    }
}

impl Registry {
    /// Removes instances whose leases run out, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut expiry = self.expiry();
        loop {
            let mut ended = ExpiryReport::default();
            self.expire(&mut expiry, &mut ended, &stop).await;
            ended.log();
            self.clock().follow_wall();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => (),
            }
        }
    }

    /// One pass. What is refused is tried again with the next one.
    async fn expire(
        &self,
        expiry: &mut Expiry,
        ended: &mut ExpiryReport,
        stop: &CancellationToken,
    ) {
        expiry.begin(self.clock().now().mono_ms);
        while !stop.is_cancelled() {
            let now_ms = expiry.pass_ms;
            match expiry.next(|max| self.due(now_ms, max)) {
                Step::Over => return,
                Step::Again => (),
                Step::Decide(turn) => match self.submit(turn.clone(), None).await {
                    Ok(report) => {
                        expiry.done(&turn, &report, self.clock().now().mono_ms);
                        ended.take(report);
                    }
                    Err(refusal) => {
                        tracing::warn!(%refusal, "expired leases are not removed yet: {refusal}");
                        return;
                    }
                },
            }
            // Others get the lock and this thread in between.
            tokio::task::yield_now().await;
        }
    }
}

/// The instances and guards that the log names.
#[derive(Debug, Default)]
struct ExpiryReport {
    guards: Vec<(ServiceName, EventKind, String)>,
    removed: Vec<ServiceId>,
    unnamed: usize,
}

impl ExpiryReport {
    fn take(&mut self, report: Report) {
        self.guards.extend(report.guards);
        for id in report.removed {
            if self.removed.len() < NAMED_MAX {
                self.removed.push(id);
            } else {
                self.unnamed += 1;
            }
        }
    }

    fn log(&self) {
        for (name, kind, reason) in &self.guards {
            let what = if *kind == EventKind::GuardEngaged {
                "is engaged"
            } else {
                "has ended"
            };
            tracing::warn!("the expiry guard of service \"{name}\" {what}: {reason}");
        }
        for id in &self.removed {
            tracing::info!("instance \"{id}\" is removed: its lease ran out");
        }
        if self.unnamed > 0 {
            let unnamed = self.unnamed;
            tracing::info!("{unnamed} more instances are removed: their leases ran out");
        }
    }
}
