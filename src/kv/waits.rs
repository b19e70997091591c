//! Readers that wait for a change, woken by changes of what they read only.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::draft::KvChanges;

/// What a reader reads.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KvTopic {
    /// One key.
    Key(Arc<str>),
    /// All keys with a prefix.
    Prefix(Arc<str>),
    /// One session.
    Session(Uuid),
    /// All sessions.
    Sessions,
    /// The sessions of a node.
    Node(Arc<str>),
}

#[derive(Debug)]
struct FollowedTopic {
    changed: watch::Sender<()>,
    readers: usize,
}

/// The readers, by topic.
#[derive(Debug, Default)]
pub(super) struct KvWaits {
    topics: Mutex<BTreeMap<KvTopic, FollowedTopic>>,
}

impl KvWaits {
    /// Follows a topic from now on.
    pub(super) fn follow(self: &Arc<Self>, topic: KvTopic) -> KvFollowing {
        let mut topics = self.topics.lock();
        let followed = topics
            .entry(topic.clone())
            .or_insert_with(|| FollowedTopic {
                changed: watch::Sender::new(()),
                readers: 0,
            });
        followed.readers += 1;
        KvFollowing {
            changed: followed.changed.subscribe(),
            waits: Arc::clone(self),
            topic,
        }
    }

    /// Wakes the readers of what changed.
    pub(super) fn wake(&self, changes: &KvChanges) {
        let topics = self.topics.lock();
        if topics.is_empty() {
            return;
        }
        let wake = |topic: &KvTopic| {
            if let Some(followed) = topics.get(topic) {
                followed.changed.send_replace(());
            }
        };
        wake_keys(&topics, &changes.keys);
        for id in &changes.sessions {
            wake(&KvTopic::Session(*id));
        }
        if !changes.sessions.is_empty() {
            wake(&KvTopic::Sessions);
        }
        for node in &changes.nodes {
            wake(&KvTopic::Node(Arc::clone(node)));
        }
    }

    #[cfg(test)]
    pub(super) fn topics(&self) -> usize {
        self.topics.lock().len()
    }
}

/// Goes through the changed keys, or through the topics, whichever is less.
fn wake_keys(topics: &BTreeMap<KvTopic, FollowedTopic>, keys: &BTreeSet<Arc<str>>) {
    let lookups: usize = keys.iter().map(|key| key.len() + 2).sum();
    if lookups > topics.len() {
        for (topic, followed) in topics {
            let concerned = match topic {
                KvTopic::Key(key) => keys.contains(key),
                KvTopic::Prefix(prefix) => {
                    let from = (Bound::Included(&**prefix), Bound::Unbounded);
                    let next = keys.range::<str, _>(from).next();
                    next.is_some_and(|key| key.starts_with(&**prefix))
                }
                KvTopic::Session(_) | KvTopic::Sessions | KvTopic::Node(_) => false,
            };
            if concerned {
                followed.changed.send_replace(());
            }
        }
        return;
    }
    for key in keys {
        if let Some(followed) = topics.get(&KvTopic::Key(Arc::clone(key))) {
            followed.changed.send_replace(());
        }
        let ends = key.char_indices().map(|(at, _)| at).chain([key.len()]);
        for end in ends {
            if let Some(followed) = topics.get(&KvTopic::Prefix(key[..end].into())) {
                followed.changed.send_replace(());
            }
        }
    }
}

/// Follows one topic until it is dropped.
#[derive(Debug)]
pub struct KvFollowing {
    changed: watch::Receiver<()>,
    waits: Arc<KvWaits>,
    topic: KvTopic,
}

impl KvFollowing {
    /// Waits for a change since the last call, or since the following began. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender is kept while there are readers.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for KvFollowing {
    fn drop(&mut self) {
        let mut topics = self.waits.topics.lock();
        if let Some(followed) = topics.get_mut(&self.topic) {
            followed.readers -= 1;
            if followed.readers == 0 {
                topics.remove(&self.topic);
            }
        }
    }
}
