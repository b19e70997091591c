//! Reads of keys, sessions and user events: answered at once, or when what they show has changed. A read that waits does
//! nothing until then.

use tokio::time::{Instant, sleep_until};

use super::{answer::ConsulError, call::ConsulCall, state::ConsulState};
use crate::{
    http::watch::{Permit, WatcherKind},
    kv::{KvRead, KvRefusal, KvTopic},
};

impl From<KvRefusal> for ConsulError {
    fn from(refusal: KvRefusal) -> Self {
        Self::new(refusal.status(), refusal.to_string())
    }
}

impl ConsulState {
    /// Reads at once, or with `index` when what is read has changed since, or at the time limit of the query.
    pub(super) async fn read_kv<T>(
        &self,
        call: &ConsulCall,
        topic: KvTopic,
        read: impl Fn() -> Result<KvRead<T>, KvRefusal>,
    ) -> Result<KvRead<T>, ConsulError> {
        let kv = &self.app.kv;
        let found = read()?;
        let seen = call.query.index.filter(|index| *index > 0);
        // A higher index than ours comes from before a restart without a store.
        let seen = seen.filter(|seen| found.index <= *seen && *seen <= kv.newest());
        let Some(seen) = seen else {
            return Ok(found);
        };
        drop(found);
        let waiting = KvWaiting::begin(self, call)?;
        // Followed before it is read, so that no change is missed.
        let mut following = kv.follow(topic);
        loop {
            let found = read()?;
            if found.index > seen || !waiting.changed(following.changed()).await? {
                return Ok(found);
            }
        }
    }
}

/// A permit to wait, and until when.
pub(super) struct KvWaiting<'a> {
    state: &'a ConsulState,
    call: &'a ConsulCall,
    deadline: Instant,
    _permit: Permit,
}

impl<'a> KvWaiting<'a> {
    /// Begins the wait that a query asks for.
    pub(super) fn begin(state: &'a ConsulState, call: &'a ConsulCall) -> Result<Self, ConsulError> {
        // Without the key: not everybody who sees watchers may read it.
        let permit = state
            .app
            .enter_watcher(&call.peer, WatcherKind::LongPoll, "kv")?;
        Ok(Self {
            state,
            call,
            deadline: Instant::now() + call.query.wait(),
            _permit: permit,
        })
    }

    /// True when something changed; false when the time is over, the client leaves or the server stops.
    pub(super) async fn changed(
        &self,
        changed: impl Future<Output = ()>,
    ) -> Result<bool, ConsulError> {
        tokio::select! {
            () = changed => Ok(true),
            () = sleep_until(self.deadline) => Ok(false),
            () = self.call.peer.disconnected() => Ok(false),
            () = self.state.serve.closing.cancelled() => Ok(false),
            () = self.call.peer.revoked() => {
                Err(ConsulError::new(403, "Permission denied: the token has ended"))
            }
        }
    }
}
