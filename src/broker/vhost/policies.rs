//! Queues follow the policies of their vhost.

use std::sync::Arc;

use super::Vhost;
use crate::broker::{
    policy::PolicySet,
    queue::{
        Queue,
        arguments::{self, Properties, Settings},
    },
};

/// Steps that it costs to read the arguments of a queue again.
const STEPS: usize = 50;

impl Vhost {
    /// From now on new queues follow these policies; [`Self::follow_policies`] has others follow.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        self.policies = policies;
    }

    /// A part of all queues takes over its settings: where the next part begins, if this was not the last.
    pub fn follow_policies(&mut self, from: usize) -> Option<usize> {
        let mut part = Vec::new();
        let mut next = None;
        for (id, queue) in self.queues.iter_from(from) {
            if self.budget.is_spent() {
                next = Some(id.place());
                break;
            }
            self.budget.spend(STEPS + self.policies.steps(&queue.name));
            if let Some(settings) = declared(queue) {
                part.push((id, settings));
            }
        }
        for (id, mut settings) in part {
            if let Some(queue) = self.queues.get_mut(id) {
                self.policies.apply(&queue.name, &mut settings);
                queue.settings = settings;
            }
            self.arm(id);
        }
        next
    }

    /// The settings of a new queue.
    pub(super) fn follow_in(&mut self, queue: &mut Queue) {
        self.budget.spend(self.policies.steps(&queue.name));
        self.policies.apply(&queue.name, &mut queue.settings);
    }
}

/// The settings of a queue by its arguments alone.
fn declared(queue: &Queue) -> Option<Settings> {
    let properties = Properties {
        durable: queue.durable,
        exclusive: queue.owner.is_some(),
        auto_delete: queue.auto_delete,
    };
    // They were accepted when it was declared.
    arguments::parse(&queue.arguments, properties, "").ok()
}
