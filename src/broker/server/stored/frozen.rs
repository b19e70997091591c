//! The broker's stored objects, for a copy while it is used.

use std::{sync::Arc, time::Duration};

use super::Stores;
use crate::broker::{
    Broker,
    durable::TopologyJournal,
    message_log::{FrozenFile, FrozenLog},
};

/// How long changes of the topology may wait for their commit before a copy is made without them: on a full disk they
/// wait for space, which a copy must not keep.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);

/// The stored messages of one moment. They go with a copy of the topology that is made later, while this exists.
#[derive(Debug)]
pub struct FrozenMessages {
    log: FrozenLog,
    journal: Arc<TopologyJournal>,
}

impl FrozenMessages {
    fn new(stores: &Stores) -> Self {
        let journal = Arc::clone(&stores.journal);
        // A queue whose messages are in the copy is in the later topology, or among its deleted ones: otherwise a start
        // would take its messages for a sign of damage.
        journal.hold_notes();
        let log = stores.log.freeze();
        journal.wait_until_committed_for(COMMIT_PATIENCE);
        Self { log, journal }
    }

    /// The files to copy.
    pub fn files(&self) -> &[FrozenFile] {
        self.log.files()
    }
}

impl Drop for FrozenMessages {
    fn drop(&mut self) {
        self.journal.release_notes();
    }
}

impl Broker {
    /// The messages that are stored now, to copy them while the broker is used; none if nothing is stored. No space is
    /// given back while they exist. Blocks.
    pub fn freeze_messages(&self) -> Option<FrozenMessages> {
        self.shared.stores.get().map(FrozenMessages::new)
    }
}
