//! Long polls: a request that is answered when what it asks about has changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{
    limit::{Permit, TooManyWatchers, WatcherKind},
    reader::place,
};
use crate::{
    api::Seen,
    http::{serve::connection::HttpPeer, state::AppState},
    model::{Revision, ServiceName},
    registry::Registry,
};

/// How long a caller waits without a `wait`.
const WAIT_DEFAULT: Duration = Duration::from_secs(30);

/// True when what a caller has seen is still current: something whose last change is `current`.
///
/// Another epoch, the future and revisions that have left the log are not current. So the caller is answered
/// at once and gets a usable index. The current index is usable however old it is.
pub(in crate::http) fn is_current(registry: &Registry, seen: Seen, current: Revision) -> bool {
    let revision = match seen {
        Seen::Cursor(cursor) if cursor.epoch == registry.epoch() => cursor.revision,
        Seen::Revision(revision) => revision,
        Seen::Cursor(_) | Seen::Unreadable => return false,
    };
    revision == current || (revision > current && place(registry, seen).is_some())
}

/// The last change of a service. An unknown one has none that the log still has.
fn last_change_of(registry: &Registry, name: &str) -> Revision {
    let before_the_log = Revision(registry.oldest().0.saturating_sub(1));
    registry
        .service(name)
        .map_or(before_the_log, |service| service.view().revision)
}

/// A permit to wait and a deadline.
#[derive(Debug)]
pub(in crate::http) struct LongPoll {
    deadline: Instant,
    peer: HttpPeer,
    _permit: Permit,
}

impl LongPoll {
    /// Begins the wait that a caller asks for.
    ///
    /// # Errors
    /// There are too many watchers.
    pub(in crate::http) fn begin(
        shared: &AppState,
        peer: &HttpPeer,
        scope: &str,
        wait: Option<Duration>,
    ) -> Result<Self, TooManyWatchers> {
        let wait = wait.unwrap_or(WAIT_DEFAULT);
        let wait = wait.min(shared.config.watch.wait_max.get());
        Ok(Self {
            deadline: Instant::now() + wait,
            _permit: shared.enter_watcher(peer, WatcherKind::LongPoll, scope)?,
            peer: peer.clone(),
        })
    }

    /// True when something changed; false at the deadline, when the client closes its side (it may still
    /// read the answer), and when the server stops.
    pub(in crate::http) async fn changed(
        &self,
        shared: &AppState,
        changed: impl Future<Output = ()>,
    ) -> bool {
        tokio::select! {
            () = changed => true,
            () = sleep_until(self.deadline) => false,
            () = self.peer.disconnected() => false,
            () = shared.closing.cancelled() => false,
        }
    }
}

impl AppState {
    /// Returns when a service has changed since the caller's index, at the deadline or when the server
    /// stops. Changes of other services do not wake it.
    ///
    /// # Errors
    /// There are too many watchers.
    pub(in crate::http) async fn until_changed(
        &self,
        peer: &HttpPeer,
        name: &str,
        seen: Seen,
        wait: Option<Duration>,
    ) -> Result<(), TooManyWatchers> {
        // A service that is not seen is like one that does not exist.
        let name = match self.sight(peer).sees(name) {
            true => name,
            false => "",
        };
        if !is_current(&self.registry, seen, last_change_of(&self.registry, name)) {
            return Ok(());
        }
        let waiting = LongPoll::begin(self, peer, name, wait)?;
        let Ok(name) = ServiceName::parse(name) else {
            // No service can have this name.
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
