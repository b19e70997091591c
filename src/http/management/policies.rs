//! Policies of queues. There are no parameters, and no policies of operators.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{
    ManagementState,
    answer::{ManagementAnswer, ManagementRefusal, done, made, ok},
    ask::{Ask, UserTag},
    queues::vhost_of,
};
use crate::broker::{
    policy::{PolicySet, PolicySource},
    queue::arguments::QueueKind,
    server::PolicyRefused,
    vhost::QueueView,
};

/// The policies of all vhosts.
#[derive(Debug)]
pub(super) struct PolicyNames(HashMap<String, Arc<PolicySet>>);

impl PolicyNames {
    pub(super) fn of(state: &ManagementState) -> Self {
        let broker = state.broker();
        let names = broker.vhost_names().into_iter();
        let sets = names.map(|name| {
            let policies = broker.policies(&name);
            (name, policies)
        });
        Self(sets.collect())
    }

    /// The name and the definition of the policy that applies to a queue.
    pub(super) fn of_queue(&self, queue: &QueueView) -> Option<(&str, Value)> {
        let kind = match queue.kind {
            "quorum" => QueueKind::Quorum,
            _ => QueueKind::Classic,
        };
        let set = self.0.get(&queue.vhost)?;
        let (name, policy) = set.of_queue(queue.name.as_bytes(), kind)?;
        let definition = policy.source().definition.clone();
        Some((name, Value::Object(definition)))
    }
}

impl From<PolicyRefused> for ManagementRefusal {
    fn from(refused: PolicyRefused) -> Self {
        match refused {
            PolicyRefused::NoVhost(_) => Self::not_found("vhost_not_found"),
            PolicyRefused::Fault(fault) => Self::bad(format!("Validation failed\n\n{fault}")),
            PolicyRefused::NotStored(_) => Self::unavailable(refused.to_string()),
        }
    }
}

fn shown(ask: &Ask, vhost: &str) -> Vec<Value> {
    let policies = ask.state.broker().policies(vhost);
    let shown = policies.iter();
    let shown = shown.map(|(name, policy)| policy.source().to_json(Some(vhost), name));
    shown.collect()
}

/// `GET /api/policies`
pub(super) async fn list(ask: Ask) -> ManagementAnswer {
    let vhosts = ask.state.broker().vhost_names();
    let seen = vhosts.iter().filter(|vhost| ask.sees(vhost));
    ok(&seen.flat_map(|vhost| shown(&ask, vhost)).collect::<Value>())
}

/// `GET /api/policies/{vhost}`
pub(super) async fn list_of_vhost(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    ok(&shown(&ask, vhost).into())
}

/// `GET /api/policies/{vhost}/{name}`
pub(super) async fn one(ask: Ask) -> ManagementAnswer {
    let (vhost, name) = (ask.vhost()?, ask.later_name(1));
    let policies = ask.state.broker().policies(vhost);
    let policy = policies.get(name).ok_or_else(ManagementRefusal::unknown)?;
    ok(&policy.source().to_json(Some(vhost), name))
}

async fn change(ask: &Ask, source: Option<PolicySource>) -> Result<bool, ManagementRefusal> {
    ask.needs(UserTag::Policymaker)?;
    let (vhost, name) = (ask.vhost()?, ask.later_name(1));
    let what = match source {
        Some(_) => "set",
        None => "deleted",
    };
    let is_new = ask.state.broker().set_policy(vhost, name, source).await?;
    tracing::info!(
        "policy \"{name}\" of vhost \"{vhost}\" is {what} by user \"{}\"",
        ask.user.name()
    );
    Ok(is_new)
}

/// `PUT /api/policies/{vhost}/{name}`
pub(super) async fn put(ask: Ask) -> ManagementAnswer {
    vhost_of(&ask)?;
    let source = PolicySource::read(&ask.object()?);
    let source = source.map_err(|fault| ManagementRefusal::bad(fault.to_string()))?;
    made(change(&ask, Some(source)).await?)
}

/// `DELETE /api/policies/{vhost}/{name}`
pub(super) async fn delete(ask: Ask) -> ManagementAnswer {
    let vhost = ask.vhost()?;
    let policies = ask.state.broker().policies(vhost);
    let known = policies.get(ask.later_name(1));
    known.ok_or_else(ManagementRefusal::unknown)?;
    change(&ask, None).await?;
    done()
}

/// A list of a vhost that is empty here.
pub(super) async fn none_of_vhost(ask: Ask) -> ManagementAnswer {
    ask.vhost()?;
    ok(&Value::Array(Vec::new()))
}

/// One item of a list that is empty here.
pub(super) async fn unknown(_: Ask) -> ManagementAnswer {
    Err(ManagementRefusal::unknown())
}

/// `PUT` of a parameter, of an operator's policy or of a limit.
pub(super) async fn refuse(ask: Ask) -> ManagementAnswer {
    ask.needs(UserTag::Policymaker)?;
    Err(ManagementRefusal::bad(
        "there are no runtime parameters, operator policies or limits of vhosts and users here: policies of queues, \
         and the configuration, have limits",
    ))
}
