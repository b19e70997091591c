//! User events: messages that clients send to each other. The newest are kept in memory. Each is also sent to the
//! exchange.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::{KvRefusal, store::random_id};
use crate::registry::Notices;

/// The longest name, in bytes. Its routing key has room for no more.
pub const EVENT_NAME_BYTES_MAX: usize = 200;
/// The largest payload, in bytes.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// The longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 512;
/// So many events are kept.
const KEPT_MAX: usize = 256;
/// The largest compiled filter, in bytes.
const FILTER_SIZE_MAX: usize = 64 << 10;

/// An event as a client fires it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserEventDraft {
    /// Its name.
    pub name: Arc<str>,
    /// Its payload.
    pub payload: Bytes,
    /// A regular expression of nodes.
    pub node_filter: Arc<str>,
    /// A regular expression of services.
    pub service_filter: Arc<str>,
    /// A regular expression of tags.
    pub tag_filter: Arc<str>,
}

impl UserEventDraft {
    /// Checks it.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    fn check(&self) -> Result<(), KvRefusal> {
        let invalid = |text: String| Err(KvRefusal::Invalid(text.into()));
        match self.name.len() {
            0 => return invalid("Missing name".to_owned()),
            len if len > EVENT_NAME_BYTES_MAX => {
                return invalid(format!(
                    "the name has {len} bytes, at most {EVENT_NAME_BYTES_MAX} are allowed"
                ));
            }
            _ => {}
        }
        if self.payload.len() > EVENT_PAYLOAD_BYTES_MAX {
            let len = self.payload.len();
            return invalid(format!(
                "the payload has {len} bytes, at most {EVENT_PAYLOAD_BYTES_MAX} are allowed"
            ));
        }
        if !self.tag_filter.is_empty() && self.service_filter.is_empty() {
            return invalid("Cannot provide tag filter without service filter".to_owned());
        }
        for (what, filter) in [
            ("node", &self.node_filter),
            ("service", &self.service_filter),
            ("tag", &self.tag_filter),
        ] {
            if filter.len() > FILTER_BYTES_MAX {
                let len = filter.len();
                return invalid(format!(
                    "the {what} filter has {len} bytes, at most {FILTER_BYTES_MAX} are allowed"
                ));
            }
            let mut built = regex::RegexBuilder::new(filter);
            if let Err(error) = built.size_limit(FILTER_SIZE_MAX).build() {
                return invalid(format!("Invalid {what} filter: {error}"));
            }
        }
        Ok(())
    }
}

/// An event that was fired.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserEvent {
    /// Its id.
    pub id: Uuid,
    /// What was fired.
    pub draft: UserEventDraft,
    /// Counts up by one per event.
    pub time: u64,
}

impl UserEvent {
    /// The number by which clients know that they have seen it: both halves of the id, combined by exclusive or.
    pub fn index(&self) -> u64 {
        let (high, low) = self.id.as_u64_pair();
        high ^ low
    }
}

/// The newest events.
#[derive(Debug)]
pub struct UserEvents {
    kept: Mutex<VecDeque<Arc<UserEvent>>>,
    newest: watch::Sender<u64>,
    notices: Arc<Notices>,
}

impl UserEvents {
    /// None yet.
    pub(super) fn new(notices: Arc<Notices>) -> Self {
        Self {
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
            notices,
        }
    }

    /// Fires an event. `encode` writes it for those who publish it.
    ///
    /// # Errors
    /// The name, the payload or a filter is not right.
    pub fn fire(
        &self,
        draft: UserEventDraft,
        encode: impl FnOnce(&UserEvent) -> Bytes,
    ) -> Result<Arc<UserEvent>, KvRefusal> {
        draft.check()?;
        let mut event = UserEvent {
            id: random_id(),
            draft,
            time: 0,
        };
        // An index of 0 is none, and 1 is that of no events.
        while event.index() <= 1 {
            event.id = random_id();
        }
        let mut kept = self.kept.lock();
        event.time = *self.newest.borrow() + 1;
        let event = Arc::new(event);
        kept.push_back(Arc::clone(&event));
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
        let key = format!("user.event.{}", event.draft.name);
        self.notices
            .push_with_key("user.event", key.into(), encode(&event));
        self.newest.send_replace(event.time);
        Ok(event)
    }

    /// The events that are kept, oldest first.
    pub fn list(&self, is_wanted: impl Fn(&UserEvent) -> bool) -> Vec<Arc<UserEvent>> {
        let kept = self.kept.lock();
        let wanted = kept.iter().filter(|event| is_wanted(event));
        wanted.cloned().collect()
    }

    /// Wakes at every event.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests;
