//! Sessions: they hold locks on keys, and end when they are destroyed, when their time runs out, or when a check that
//! they depend on fails.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use uuid::Uuid;

/// The shortest time to live.
pub const TTL_MIN: Duration = Duration::from_secs(10);
/// The longest time to live.
pub const TTL_MAX: Duration = Duration::from_secs(86_400);
/// A longer lock delay counts as this one.
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

/// What happens to the keys that a session has locked when it ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SessionBehavior {
    /// They stay, unlocked.
    #[default]
    Release,
    /// They are deleted.
    Delete,
}

impl SessionBehavior {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for SessionBehavior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionBehavior {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" | "release" => Ok(Self::Release),
            "delete" => Ok(Self::Delete),
            _ => Err(()),
        }
    }
}

/// A check that a session depends on.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum CheckedBy {
    /// A check of the node.
    Node(Arc<str>),
    /// A check of a service.
    Service(Arc<str>),
}

impl CheckedBy {
    /// The id of the check.
    pub fn id(&self) -> &Arc<str> {
        match self {
            Self::Node(id) | Self::Service(id) => id,
        }
    }
}

/// A session that is to be created.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SessionDraft {
    /// For people.
    pub name: Arc<str>,
    /// The node that it belongs to.
    pub node: Arc<str>,
    /// The checks that it depends on.
    pub checks: Vec<CheckedBy>,
    /// How long its keys cannot be locked after it ended.
    pub lock_delay: Duration,
    /// What happens to its keys.
    pub behavior: SessionBehavior,
    /// It ends when it was not renewed for so long.
    pub ttl: Option<Duration>,
    /// The identity that created it.
    pub owner: Option<Arc<str>>,
}

/// A session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KvSession {
    /// Its id.
    pub id: Uuid,
    /// What its client asked for.
    pub draft: SessionDraft,
    /// The index at which it was created; sessions do not change.
    pub index: u64,
}

impl KvSession {
    /// How long its keys cannot be locked after it ended, in milliseconds.
    pub(super) fn lock_delay_ms(&self) -> u64 {
        let delay = self.draft.lock_delay.min(LOCK_DELAY_MAX);
        u64::try_from(delay.as_millis()).unwrap_or(0)
    }
}
