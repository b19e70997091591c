//! Definitions of all vhosts: exported, and imported as a whole or not at all.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{Broker, Shared, clock::VhostCell};
use crate::{
    broker::{
        auth::UserConfig,
        definitions::{
            DefinitionFault, Definitions, IgnoredDefinition, ImportPlan, ImportReport,
            PlannedPolicy, PlannedUser, VhostPlan,
        },
        listing::Wanted,
        vhost::{BindingView, ImportProgress, Vhost},
    },
    disk::blocking,
};

impl Broker {
    /// The topology, of one vhost or of all; nothing if there is no such vhost.
    pub async fn definitions(&self, only: Option<&str>) -> Option<Definitions> {
        let names: Vec<_> = match only {
            Some(name) => vec![self.shared.vhosts.get_key_value(name)?.0.clone()],
            None => self.shared.vhosts.keys().cloned().collect(),
        };
        let wanted = Wanted {
            vhost: only.map(str::to_owned),
            name: String::new(),
            limit: usize::MAX,
        };
        let exchanges = self.exchanges(&wanted).await.items;
        // Before the queues: the queues of these bindings are there, or they are gone.
        let bindings = self.bindings(&wanted).await.items;
        let queues = self.queues(&wanted).await.items;
        let mut definitions = Definitions::new(names.clone(), only.is_some());
        for name in &names {
            let vhost = only.is_none().then_some(name.as_str());
            let policies = self.policies(name);
            let shown = policies.iter();
            let shown = shown.map(|(name, policy)| policy.source().to_json(vhost, name));
            definitions.policies.extend(shown);
        }
        let made = move || definitions.with(exchanges, queues, bindings);
        Some(blocking(made).await)
    }

    /// The topology of all vhosts, and the users that were made at run time with the hashes of their passwords.
    pub async fn definitions_with_users(&self) -> Option<Definitions> {
        let definitions = self.definitions(None).await?;
        let users = self.shared.users.locked().clone();
        Some(definitions.with_users(&users))
    }

    /// Imports definitions without their users and permissions. With `only`, they are of one vhost.
    ///
    /// # Errors
    /// Everything that prevents it; nothing was changed.
    pub async fn import(
        &self,
        body: Bytes,
        only: Option<String>,
    ) -> Result<ImportReport, Vec<DefinitionFault>> {
        let mut plan = blocking(move || ImportPlan::read(&body, only.as_deref())).await?;
        let users = std::mem::take(&mut plan.users);
        plan.ignored.extend(users.into_keys().map(|name| {
            let reason = "users and permissions need write access to system";
            IgnoredDefinition::new("user", &name, None, reason)
        }));
        self.carry_out(plan).await
    }

    /// Imports definitions with their users and permissions. A user that exists gets the password and the tags of the
    /// file, and its permissions besides those that it has. With `only`, they are of one vhost.
    ///
    /// # Errors
    /// Everything that prevents it; nothing was changed.
    pub async fn import_with_users(
        &self,
        body: Bytes,
        only: Option<String>,
    ) -> Result<ImportReport, Vec<DefinitionFault>> {
        let plan = blocking(move || ImportPlan::read(&body, only.as_deref())).await?;
        self.carry_out(plan).await
    }

    async fn carry_out(&self, mut plan: ImportPlan) -> Result<ImportReport, Vec<DefinitionFault>> {
        let policies = std::mem::take(&mut plan.policies);
        let imported = self.on_own_threads(async move |shared| {
            let _one = shared.imports.lock().await;
            Some(import(&shared, plan).await)
        });
        let stopped = || {
            Err(vec![DefinitionFault::conflict(
                "",
                "the broker is stopping",
            )])
        };
        let mut report = imported.await.unwrap_or_else(stopped)?;
        for PlannedPolicy {
            vhost,
            name,
            source,
        } in policies
        {
            if let Err(refused) = self.set_policy(&vhost, &name, Some(source)).await {
                let reason = refused.to_string();
                let ignored = IgnoredDefinition::new("policy", &name, Some(&vhost), &reason);
                report.ignored.push(ignored);
            }
        }
        if let Some(stores) = self.shared.stores.get() {
            stores.until_committed().await;
        }
        Ok(report)
    }
}

/// The users of an import, with what they are then.
type ImportedUsers = Vec<(String, Box<UserConfig>)>;

/// What users become. Those of the configuration are ignored.
fn planned_users(
    shared: &Shared,
    users: BTreeMap<String, PlannedUser>,
    report: &mut ImportReport,
    faults: &mut Vec<DefinitionFault>,
) -> ImportedUsers {
    let access = shared.access.load_full();
    let known = shared.users.locked().clone();
    let mut imported = ImportedUsers::new();
    for (name, planned) in users {
        if access.is_configured(&name) {
            let reason = "it is set in the configuration: broker.users, broker.auth.guest";
            let ignored = IgnoredDefinition::new("user", &name, None, reason);
            report.ignored.push(ignored);
            continue;
        }
        let place = planned.place.clone();
        if let Some(vhost) = planned.vhosts().find(|vhost| shared.vhost(vhost).is_none()) {
            let message = format!(
                "user \"{name}\" has permissions in vhost \"{vhost}\", which does not exist"
            );
            faults.push(DefinitionFault::conflict(place, message));
            continue;
        }
        match planned.onto(known.get(&name)) {
            Some(user) if known.get(&name) == Some(&user) => report.present.users += 1,
            Some(user) => imported.push((name, Box::new(user))),
            None => {
                let message = format!("there is no user \"{name}\"");
                faults.push(DefinitionFault::invalid(format!("{place}.user"), message));
            }
        }
    }
    imported
}

async fn import(
    shared: &Shared,
    mut plan: ImportPlan,
) -> Result<ImportReport, Vec<DefinitionFault>> {
    let mut report = ImportReport {
        ignored: std::mem::take(&mut plan.ignored),
        ..ImportReport::default()
    };
    let mut user_faults = Vec::new();
    let users = std::mem::take(&mut plan.users);
    let users = planned_users(shared, users, &mut report, &mut user_faults);
    let (mut imports, mut faults) = (Vec::new(), Vec::new());
    for (name, plan) in plan.vhosts {
        match (shared.vhost(&name), plan.first_place()) {
            (Some(cell), _) => imports.push(VhostImport::new(name, cell, plan)),
            (None, Some(place)) => faults.push(DefinitionFault::conflict(
                format!("{place}.vhost"),
                format!("there is no vhost \"{name}\": add it to broker.vhosts and restart"),
            )),
            (None, None) => report.ignored.push(IgnoredDefinition::new(
                "vhost",
                &name,
                None,
                "virtual hosts are set in the configuration: broker.vhosts",
            )),
        }
    }
    for import in &mut imports {
        import.check(&mut faults).await;
    }
    faults.append(&mut user_faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    report.made.users = users.len() as u64;
    let before = match users.is_empty() {
        true => Vec::new(),
        false => Broker::put_all_users(shared, users)
            .await
            .map_err(|(name, refused)| {
                let message = format!("user \"{name}\": {refused}");
                vec![DefinitionFault::invalid("users", message)]
            })?,
    };
    if let Err(fault) = make(shared, &mut imports).await {
        if !before.is_empty() {
            Broker::put_users_back(shared, before).await;
        }
        return Err(vec![fault]);
    }
    for import in imports {
        import.add_to(&mut report);
    }
    Ok(report)
}

/// Makes everything. If something was declared otherwise since the check, what was made is taken back.
async fn make(shared: &Shared, imports: &mut [VhostImport]) -> Result<(), DefinitionFault> {
    for index in 0..imports.len() {
        if let Err(fault) = imports[index].make(shared).await {
            for import in imports[..=index].iter_mut().rev() {
                import.undo(shared).await;
            }
            return Err(fault);
        }
    }
    Ok(())
}

/// The import into one vhost.
struct VhostImport {
    name: String,
    cell: Arc<VhostCell>,
    plan: VhostPlan,
    progress: ImportProgress,
}

impl VhostImport {
    fn new(name: String, cell: Arc<VhostCell>, plan: VhostPlan) -> Self {
        Self {
            name,
            cell,
            plan,
            progress: ImportProgress::default(),
        }
    }

    /// Does something in turns of the vhost, until it says that nothing is left.
    async fn in_turns(&mut self, mut step: impl FnMut(&mut Vhost, &mut Self) -> bool) {
        while self.turn(&mut step) {
            tokio::task::yield_now().await;
        }
    }

    /// One turn: whether something is left.
    fn turn(&mut self, step: &mut impl FnMut(&mut Vhost, &mut Self) -> bool) -> bool {
        let cell = Arc::clone(&self.cell);
        let mut vhost = cell.lock();
        let mut has_more = true;
        while has_more && !vhost.is_turn_over() {
            has_more = step(&mut vhost, self);
        }
        cell.finish(vhost, &mut Vec::new(), 0);
        has_more
    }

    async fn check(&mut self, faults: &mut Vec<DefinitionFault>) {
        if !self.plan.bindings.is_empty() {
            self.list_bindings().await;
        }
        let mut number = 0;
        self.in_turns(|vhost, import| {
            if number == import.plan.len() {
                faults.extend(vhost.check_room(import.progress.new).err());
                return false;
            }
            let checked = vhost.check_definition(&import.plan, number, &mut import.progress);
            faults.extend(checked.err());
            number += 1;
            true
        })
        .await;
    }

    async fn list_bindings(&mut self) {
        let mut from = Some(0);
        self.in_turns(|vhost, import| {
            let mut part: Vec<BindingView> = Vec::new();
            from = vhost.bindings(from.unwrap_or_default(), &mut part);
            let before = &mut import.progress.bindings_before;
            before.extend(part.iter().map(BindingView::key));
            from.is_some()
        })
        .await;
    }

    async fn make(&mut self, shared: &Shared) -> Result<(), DefinitionFault> {
        let mut made = Ok(());
        self.in_turns(|vhost, import| {
            let progress = &mut import.progress;
            let Some(number) = progress.to_make.get(progress.made) else {
                return false;
            };
            made = vhost.make_definition(&import.plan, *number, shared.now());
            progress.made += usize::from(made.is_ok());
            made.is_ok()
        })
        .await;
        made
    }

    async fn undo(&mut self, shared: &Shared) {
        self.in_turns(|vhost, import| {
            let progress = &mut import.progress;
            let Some(last) = progress.made.checked_sub(1) else {
                return false;
            };
            vhost.undo_definition(&import.plan, progress.to_make[last], shared.now());
            progress.made = last;
            true
        })
        .await;
    }

    fn add_to(self, report: &mut ImportReport) {
        report.made.add(self.progress.new);
        report.present.add(self.progress.present);
        let first = self.plan.exchanges.len() + self.plan.queues.len();
        let loose = self.progress.loose.iter();
        let loose = loose.filter_map(|number| self.plan.bindings.get(number - first));
        report.ignored.extend(loose.map(|planned| {
            let reason =
                "its queue is neither here nor in the file: exclusive queues are not exported";
            IgnoredDefinition::new("binding", &planned.place, Some(&self.name), reason)
        }));
    }
}

#[cfg(test)]
mod tests;
