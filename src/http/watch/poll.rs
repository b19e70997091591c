//! Long polls: a request that is answered when what it asks about has changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    gate::{Kind, Permit, Refused},
    reader::place,
};
use crate::{
    api::Seen,
    http::{serve::connection::Peer, state::Shared},
    model::{Revision, ServiceName},
    registry::Registry,
};

/// How long a caller waits who does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// True when what a caller has seen is still how it is: something whose last change is `current`.
///
/// Another epoch, the future and what is out of the log are not current, so that the caller is
/// answered at once and has an index that serves; only the present index serves however old it is.
pub(in crate::http) fn is_current(registry: &Registry, seen: Seen, current: Revision) -> bool {
    let revision = match seen {
        Seen::Cursor(cursor) if cursor.epoch == registry.epoch() => cursor.revision,
        Seen::Revision(revision) => revision,
        Seen::Cursor(_) | Seen::Unreadable => return false,
    };
    revision == current || (revision > current && place(registry, seen).is_some())
}

/// The last change of a service. One that is unknown has had none that the log still has.
fn last_change_of(registry: &Registry, name: &str) -> Revision {
    let before_the_log = Revision(registry.oldest().0.saturating_sub(1));
    registry
        .service(name)
        .map_or(before_the_log, |service| service.view().revision)
}

/// A place among the watchers and a time to give up.
#[derive(Debug)]
pub(in crate::http) struct Waiting {
    deadline: Instant,
    peer: Peer,
    _ticket: Permit,
}

impl Waiting {
    /// Takes a place for a wait that a caller asks for.
    ///
    /// # Errors
    /// There are too many watchers.
    pub(in crate::http) fn begin(
        shared: &Shared,
        peer: &Peer,
        wait: Option<Duration>,
    ) -> Result<Self, Refused> {
        let wait = wait.unwrap_or(WAIT_DEFAULT);
        let wait = wait.min(shared.config.watch.wait_max.get());
        Ok(Self {
            deadline: Instant::now() + wait,
            _ticket: shared.watching.gate.enter(peer.address, Kind::LongPoll)?,
            peer: peer.clone(),
        })
    }

    /// True when something changed; false when the time is over, the client has no more to say (it went
    /// away, or only shut its side and still reads the answer) or the door closes.
    pub(in crate::http) async fn changed(
        &self,
        shared: &Shared,
        changed: impl Future<Output = ()>,
    ) -> bool {
        tokio::select! {
            () = changed => true,
            () = sleep_until(self.deadline) => false,
            () = self.peer.gone() => false,
            () = shared.closing.cancelled() => false,
        }
    }
}

impl Shared {
    /// Returns when a service is no longer as the caller has seen it, the time is over or the door
    /// closes; no other service's change wakes it.
    ///
    /// # Errors
    /// There are too many watchers.
    pub(in crate::http) async fn until_changed(
        &self,
        peer: &Peer,
        name: &str,
        seen: Seen,
        wait: Option<Duration>,
    ) -> Result<(), Refused> {
        if !is_current(&self.registry, seen, last_change_of(&self.registry, name)) {
            return Ok(());
        }
        let waiting = Waiting::begin(self, peer, wait)?;
        let Ok(name) = ServiceName::parse(name) else {
            // No service can have this name: it stays unknown.
            waiting.changed(self, std::future::pending()).await;
            return Ok(());
        };
        let mut following = self.registry.follow_service(&name);
        while is_current(&self.registry, seen, following.service().view().revision) {
            if !waiting.changed(self, following.changed()).await {
                break;
            }
        }
        Ok(())
    }
}
