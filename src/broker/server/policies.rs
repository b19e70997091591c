//! Policies of each vhost: changed one after the other, stored, and in effect for the queues that are there.

use std::{collections::HashMap, fmt, sync::Arc};

use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Broker, Shared, VhostCell};
use crate::broker::policy::{PolicyFault, PolicySet, PolicySource, QueuePolicy};

/// The table of policies.
pub const POLICY_TABLE: &str = "broker.policies";

/// The longest name of a policy, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Keeps policies.
pub trait PolicyRows: fmt::Debug + Send + Sync {
    /// Sets or removes a row; it survives the end of the process once it is done.
    ///
    /// # Errors
    /// Says why nothing was changed.
    fn store(&self, key: Vec<u8>, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>>;
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoPolicyRows;

impl PolicyRows for NoPolicyRows {
    fn store(&self, _: Vec<u8>, _: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

/// A row that is no policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stored policy \"{0}\" cannot be read")]
pub struct UnreadablePolicy(pub String);

/// Why a policy was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyRefused {
    /// There is no such vhost.
    #[error("there is no vhost \"{0}\"")]
    NoVhost(String),
    /// It is wrong.
    #[error(transparent)]
    Fault(#[from] PolicyFault),
    /// The change could not be stored.
    #[error("the policy was not stored: {0}")]
    NotStored(String),
}

/// The policies by vhost.
#[derive(Debug)]
pub(super) struct Policies {
    sets: Mutex<HashMap<String, Arc<PolicySet>>>,
    rows: Mutex<Arc<dyn PolicyRows>>,
    /// Held while one is changed and stored.
    changing: tokio::sync::Mutex<()>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            sets: Mutex::default(),
            rows: Mutex::new(Arc::new(NoPolicyRows)),
            changing: tokio::sync::Mutex::default(),
        }
    }
}

/// The key of a policy's row. No vhost and no policy has a name with a NUL.
fn key(vhost: &str, name: &str) -> Vec<u8> {
    format!("{vhost}\0{name}").into_bytes()
}

fn decoded(key: &[u8], row: &[u8]) -> Option<(String, String, QueuePolicy)> {
    let key = std::str::from_utf8(key).ok()?;
    let (vhost, name) = key.split_once('\0')?;
    let fields: Value = serde_json::from_slice(row).ok()?;
    let source = PolicySource::read(fields.as_object()?).ok()?;
    Some((
        vhost.to_owned(),
        name.to_owned(),
        QueuePolicy::new(source).ok()?,
    ))
}

impl Broker {
    /// Puts back the policies of earlier runs, and stores changes from now on.
    ///
    /// # Errors
    /// A row is no policy.
    pub async fn restore_policies<'a>(
        &self,
        rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        keeper: Arc<dyn PolicyRows>,
    ) -> Result<(), UnreadablePolicy> {
        let mut sets: HashMap<String, PolicySet> = HashMap::new();
        for (key, row) in rows {
            let unreadable = || UnreadablePolicy(String::from_utf8_lossy(key).replace('\0', "/"));
            let (vhost, name, policy) = decoded(key, row).ok_or_else(unreadable)?;
            let set = sets.entry(vhost).or_default();
            *set = set.with(&name, Some(policy)).map_err(|_| unreadable())?;
        }
        *self.shared.policies.rows.lock() = keeper;
        for (vhost, set) in sets {
            self.put_policies(&vhost, set).await;
        }
        Ok(())
    }

    /// The policies of a vhost.
    pub fn policies(&self, vhost: &str) -> Arc<PolicySet> {
        let sets = self.shared.policies.sets.lock();
        sets.get(vhost).cloned().unwrap_or_default()
    }

    /// Sets or removes a policy; whether there was none of this name. Queues that are there follow at once: messages
    /// that wait keep their time to live, and a queue that is too long is cut with its next message.
    ///
    /// # Errors
    /// Says why nothing was changed.
    pub async fn set_policy(
        &self,
        vhost: &str,
        name: &str,
        source: Option<PolicySource>,
    ) -> Result<bool, PolicyRefused> {
        if self.shared.vhost(vhost).is_none() {
            return Err(PolicyRefused::NoVhost(vhost.to_owned()));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
            let text = format!("the name of a policy has 1 to {NAME_BYTES_MAX} bytes and no NUL");
            return Err(PolicyFault(text).into());
        }
        let policy = source.map(QueuePolicy::new).transpose()?;
        let _changing = self.shared.policies.changing.lock().await;
        let known = self.policies(vhost);
        let row = policy.as_ref().map(|policy| {
            let shown = policy.source().to_json(None, name);
            shown.to_string().into_bytes()
        });
        let changed = known.with(name, policy)?;
        let rows = Arc::clone(&*self.shared.policies.rows.lock());
        let stored = rows.store(key(vhost, name), row);
        stored.await.map_err(PolicyRefused::NotStored)?;
        self.put_policies(vhost, changed).await;
        Ok(known.get(name).is_none())
    }

    async fn put_policies(&self, vhost: &str, set: PolicySet) {
        let set = Arc::new(set);
        let vhost = vhost.to_owned();
        let policies = &self.shared.policies;
        policies.sets.lock().insert(vhost.clone(), Arc::clone(&set));
        self.on_own_threads(async move |shared| follow(&shared, &vhost, set).await)
            .await;
    }
}

/// Has the queues of a vhost follow its policies, in turns.
async fn follow(shared: &Shared, vhost: &str, set: Arc<PolicySet>) {
    let Some(cell) = shared.vhost(vhost) else {
        return;
    };
    cell.lock().set_policies(set);
    let mut from = Some(0);
    while let Some(at) = from {
        from = turn(&cell, at);
        tokio::task::yield_now().await;
    }
}

/// One turn: where the next part begins, if this was not the last.
fn turn(cell: &VhostCell, from: usize) -> Option<usize> {
    let mut vhost = cell.lock();
    let next = vhost.follow_policies(from);
    cell.finish(vhost, &mut Vec::new(), 0);
    next
}

#[cfg(test)]
mod tests;
