//! Where a new subscriber begins.

use super::{Policy, Subscriber};
use crate::{model::Cursor, registry::Registry};

/// Where a new subscriber begins.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// With the next change.
    #[default]
    Newest,
    /// With a snapshot of the current state.
    Snapshot,
    /// With the change after this one; with a snapshot where the cursor is of another epoch, from the
    /// future or out of the log.
    After(Cursor),
}

impl Start {
    pub(super) fn subscriber(self, registry: &Registry, policy: Policy) -> Subscriber {
        let newest = registry.cursor(registry.newest());
        match self {
            Self::Newest => Subscriber::new(newest, policy),
            Self::Snapshot => lost(newest, policy),
            Self::After(cursor) => match registry.place(cursor) {
                Some(_) => Subscriber::new(cursor, policy),
                None => lost(newest, policy),
            },
        }
    }
}

fn lost(newest: Cursor, policy: Policy) -> Subscriber {
    let mut subscriber = Subscriber::new(newest, policy);
    subscriber.lose();
    subscriber
}
