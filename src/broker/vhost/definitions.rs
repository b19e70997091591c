//! An import of definitions: each declaration is checked first, all of them, and made then.

use std::collections::HashSet;

use super::{
    BindSpec, BindTarget, BindingView, BrokerTime, Vhost, deferred::NOBODY, view::json_table,
};
use crate::broker::{
    definitions::{DefinitionCounts, DefinitionFault, VhostPlan},
    exception::Exception,
    exchange::{ExchangeKind, headers::HeadersPattern},
    queue::QueueId,
};

/// Steps that it costs to check or make a declaration.
const STEPS: usize = 30;

/// What became of the declarations of one vhost so far.
#[derive(Debug, Default)]
pub struct ImportProgress {
    /// Bindings that were there before.
    pub bindings_before: HashSet<String>,
    /// What exists alike.
    pub present: DefinitionCounts,
    /// What is new.
    pub new: DefinitionCounts,
    /// By number: those that are made.
    pub to_make: Vec<usize>,
    /// Bindings to queues that are nowhere, by number.
    pub loose: Vec<usize>,
    /// Those that are done: how many of `to_make`.
    pub made: usize,
}

/// What a declaration is, by its number: exchanges come first, then queues, then bindings.
enum Numbered<'a> {
    Exchange(&'a super::DeclareExchange),
    Queue(&'a super::DeclareQueue),
    Binding(&'a BindSpec),
}

fn numbered(plan: &VhostPlan, number: usize) -> Option<(&str, Numbered<'_>)> {
    if let Some(planned) = plan.exchanges.get(number) {
        return Some((&planned.place, Numbered::Exchange(&planned.spec)));
    }
    let number = number - plan.exchanges.len();
    if let Some(planned) = plan.queues.get(number) {
        return Some((&planned.place, Numbered::Queue(&planned.spec)));
    }
    let planned = plan.bindings.get(number - plan.queues.len())?;
    Some((&planned.place, Numbered::Binding(&planned.spec)))
}

impl Vhost {
    /// Checks one declaration.
    ///
    /// # Errors
    /// It cannot be made, or something that exists differs from it.
    pub fn check_definition(
        &mut self,
        plan: &VhostPlan,
        number: usize,
        progress: &mut ImportProgress,
    ) -> Result<(), DefinitionFault> {
        self.budget.spend(STEPS);
        let Some((place, what)) = numbered(plan, number) else {
            return Ok(());
        };
        let (new, present) = (&mut progress.new, &mut progress.present);
        let checked = match what {
            Numbered::Exchange(spec) => self
                .is_new_exchange(spec)
                .map(|is_new| (is_new, &mut new.exchanges, &mut present.exchanges)),
            Numbered::Queue(spec) => self
                .settings_of_new(spec, NOBODY)
                .map(|settings| (settings.is_some(), &mut new.queues, &mut present.queues)),
            Numbered::Binding(spec) => {
                if self.is_loose(plan, spec) {
                    progress.loose.push(number);
                    return Ok(());
                }
                let is_new = !progress.bindings_before.contains(&key_of_spec(spec));
                self.check_new_binding(plan, spec)
                    .map(|()| (is_new, &mut new.bindings, &mut present.bindings))
            }
        };
        let (is_new, new, present) = checked.map_err(|exception| at(place, exception))?;
        if is_new {
            *new += 1;
            progress.to_make.push(number);
        } else {
            *present += 1;
        }
        Ok(())
    }

    /// Whether there is room for so many new ones.
    ///
    /// # Errors
    /// A limit would be passed.
    pub fn check_room(&self, new: DefinitionCounts) -> Result<(), DefinitionFault> {
        let limits = &self.limits;
        let rows = [
            (
                "exchanges",
                self.exchanges.len(),
                new.exchanges,
                limits.exchanges.get(),
            ),
            ("queues", self.queues.len(), new.queues, limits.queues.get()),
            (
                "bindings",
                self.bindings.len(),
                new.bindings,
                limits.bindings.get(),
            ),
        ];
        for (what, present, new, limit) in rows {
            if (present as u64).saturating_add(new) > limit as u64 {
                let text = format!(
                    "vhost '{}' has {present} {what}, and {new} more are beyond the limit of {limit} \
                     (broker.limits.{what})",
                    self.name
                );
                return Err(DefinitionFault::conflict(what, text));
            }
        }
        let full = self.check_topology();
        full.map_err(|exception| DefinitionFault::conflict("", exception.explanation))
    }

    /// Makes one declaration that was checked.
    ///
    /// # Errors
    /// Something has changed since the check.
    pub fn make_definition(
        &mut self,
        plan: &VhostPlan,
        number: usize,
        now: BrokerTime,
    ) -> Result<(), DefinitionFault> {
        self.budget.spend(STEPS);
        let Some((place, what)) = numbered(plan, number) else {
            return Ok(());
        };
        let made = match what {
            Numbered::Exchange(spec) => self.declare_exchange(spec),
            Numbered::Queue(spec) => self.declare_queue(spec, NOBODY, now).map(drop),
            Numbered::Binding(spec) => self.bind(spec, NOBODY),
        };
        made.map_err(|exception| at(place, exception))
    }

    /// Takes back one declaration that was made.
    pub fn undo_definition(&mut self, plan: &VhostPlan, number: usize, now: BrokerTime) {
        self.budget.spend(STEPS);
        let undone = match numbered(plan, number) {
            Some((_, Numbered::Exchange(spec))) => {
                self.delete_exchange(&spec.name, false, NOBODY, now)
            }
            Some((_, Numbered::Queue(spec))) => {
                self.force_delete(&spec.name, now);
                Ok(())
            }
            Some((_, Numbered::Binding(spec))) => self.unbind(spec, NOBODY, now),
            None => Ok(()),
        };
        if let Err(exception) = undone {
            tracing::warn!("an import that failed is not undone everywhere: {exception}");
        }
    }

    /// Whether a binding leads to a queue that is neither here nor in the file. RabbitMQ exports bindings of exclusive
    /// queues, and not those queues.
    fn is_loose(&self, plan: &VhostPlan, spec: &BindSpec) -> bool {
        match &spec.target {
            BindTarget::Queue(name) => !self.has_queue(name) && !plan.has_queue(name),
            BindTarget::Exchange(_) => false,
        }
    }

    fn check_new_binding(&self, plan: &VhostPlan, spec: &BindSpec) -> Result<(), Exception> {
        match &spec.target {
            BindTarget::Queue(name) if self.has_queue(name) => {
                let _: QueueId = self.usable_queue(name, NOBODY)?;
            }
            BindTarget::Exchange(name) if plan.exchange_kind(name).is_none() => {
                self.check_exchange(name)?;
            }
            BindTarget::Queue(_) | BindTarget::Exchange(_) => {}
        }
        let kind = match plan.exchange_kind(&spec.source) {
            Some(kind) => kind,
            None => {
                let id = self.exchange_id(&spec.source)?;
                let source = self.exchanges.get(id);
                source.map_or(ExchangeKind::Direct, |source| source.kind)
            }
        };
        match kind {
            ExchangeKind::Headers => HeadersPattern::parse(&spec.arguments).map(drop),
            _ => Ok(()),
        }
    }
}

fn at(place: &str, exception: Exception) -> DefinitionFault {
    DefinitionFault::conflict(place, exception.explanation)
}

/// The same for the same binding, whatever the widths of the numbers among its arguments.
fn key_of_spec(spec: &BindSpec) -> String {
    let (kind, destination) = match &spec.target {
        BindTarget::Queue(name) => ("queue", name),
        BindTarget::Exchange(name) => ("exchange", name),
    };
    let names = [
        spec.source.to_string(),
        destination.to_string(),
        spec.routing_key.to_string(),
    ];
    format!("{kind} {names:?} {}", json_table(&spec.arguments))
}

impl BindingView {
    /// The same for the same binding, whatever the widths of the numbers among its arguments.
    pub fn key(&self) -> String {
        let names = [&self.source, &self.destination, &self.routing_key];
        let kind = self.destination_type;
        format!("{kind} {names:?} {}", json_table(&self.arguments.0))
    }
}
