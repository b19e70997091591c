//! Definitions of all vhosts: exported, and imported as a whole or not at all.

use std::sync::Arc;

use bytes::Bytes;

use super::{Broker, Shared, clock::VhostCell};
use crate::{
    broker::{
        definitions::{
            DefinitionFault, Definitions, IgnoredDefinition, ImportPlan, ImportReport, VhostPlan,
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
        let definitions = Definitions::new(names, only.is_some());
        let made = move || definitions.with(exchanges, queues, bindings);
        Some(blocking(made).await)
    }

    /// Imports definitions. With `only`, they are of one vhost.
    ///
    /// # Errors
    /// Everything that prevents it; nothing was changed.
    pub async fn import(
        &self,
        body: Bytes,
        only: Option<String>,
    ) -> Result<ImportReport, Vec<DefinitionFault>> {
        let plan = blocking(move || ImportPlan::read(&body, only.as_deref())).await?;
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
        let report = imported.await.unwrap_or_else(stopped)?;
        if let Some(stores) = self.shared.stores.get() {
            stores.until_committed().await;
        }
        Ok(report)
    }
}

async fn import(shared: &Shared, plan: ImportPlan) -> Result<ImportReport, Vec<DefinitionFault>> {
    let mut report = ImportReport {
        ignored: plan.ignored,
        ..ImportReport::default()
    };
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
    if !faults.is_empty() {
        return Err(faults);
    }
    if let Err(fault) = make(shared, &mut imports).await {
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
