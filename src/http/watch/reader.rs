//! One watcher's cursor in the log: what it gets next, each change once and in order.
//!
//! Never waits for a socket and never keeps more than one batch.

use std::{fmt, sync::Arc};

use futures_util::future::select_all;
use tokio::sync::watch;

use crate::{
    api::Seen,
    catalog::Sight,
    model::{CANARY, Event, Revision, ServiceName},
    registry::{Compacted, Following, Registry, Service, Snapshot},
};

/// At most so many events are taken from the log at once.
const BATCH_MAX: usize = 64;

/// The scope of a watcher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) enum Scope {
    /// Everything, routes included.
    All,
    /// Everything but the changes of the migration's canary.
    AllButCanary,
    /// The changes of these services; they need not exist.
    Services(Vec<ServiceName>),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Services(names) = self else {
            return f.write_str("*");
        };
        for (index, name) in names.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", name.as_str())?;
        }
        Ok(())
    }
}

/// What a watcher follows, and what of it it may see.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::http) struct SeenScope {
    pub(in crate::http) scope: Scope,
    pub(in crate::http) sight: Sight,
}

impl From<Scope> for SeenScope {
    fn from(scope: Scope) -> Self {
        Self {
            scope,
            sight: Sight::All,
        }
    }
}

/// Where a watcher begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum WatchStart {
    /// With a snapshot.
    Fresh,
    /// After what it has seen.
    Behind(Seen),
}

/// The revision to continue from; none when the caller must start from a snapshot.
pub(in crate::http) fn place(registry: &Registry, seen: Seen) -> Option<Revision> {
    match seen {
        Seen::Cursor(cursor) => registry.place(cursor),
        Seen::Revision(revision) => registry.place(registry.cursor(revision)),
        Seen::Unreadable => None,
    }
}

/// An item for a watcher.
#[derive(Debug)]
pub(in crate::http) enum WatchItem {
    /// Changes were missed; a snapshot follows.
    Resync,
    /// The current state; later changes follow.
    Snapshot(Snapshot),
    /// One change.
    Event(Arc<Event>),
}

/// Reads the log for one watcher.
#[derive(Debug)]
pub(in crate::http) struct LogReader {
    registry: Registry,
    source: ChangeSource,
    cursor: Revision,
    next: NextStep,
    /// Changes that the last snapshot shows already, while there may be some.
    shown: Option<Snapshot>,
    batch: std::vec::IntoIter<Arc<Event>>,
}

/// Changes of one scope.
#[derive(Debug)]
pub(in crate::http) struct Page {
    /// Oldest first.
    pub(in crate::http) events: Vec<Arc<Event>>,
    /// There is no other change of the scope up to here.
    pub(in crate::http) until: Revision,
}

/// The changes of one scope that are seen, and what wakes on new ones.
#[derive(Debug)]
pub(in crate::http) struct ChangeSource {
    followed: Followed,
    sight: Sight,
}

#[derive(Debug)]
enum Followed {
    All(watch::Receiver<Revision>),
    AllButCanary(watch::Receiver<Revision>),
    Services(Vec<Following>),
}

#[derive(Debug)]
enum NextStep {
    Resync,
    Snapshot,
    Events,
}

impl LogReader {
    /// A reader that begins at `start`.
    pub(in crate::http) fn new(
        registry: &Registry,
        scope: impl Into<SeenScope>,
        start: WatchStart,
    ) -> Self {
        // Followed first, so that no change in between is missed.
        let source = ChangeSource::new(registry, scope);
        let (next, cursor) = match start {
            WatchStart::Fresh => (NextStep::Snapshot, Revision::default()),
            WatchStart::Behind(seen) => match place(registry, seen) {
                Some(revision) => (NextStep::Events, revision),
                None => (NextStep::Resync, Revision::default()),
            },
        };
        Self {
            registry: registry.clone(),
            source,
            cursor,
            next,
            shown: None,
            batch: Vec::new().into_iter(),
        }
    }

    /// True when everything is followed.
    pub(in crate::http) fn reads_all(&self) -> bool {
        !matches!(self.source.followed, Followed::Services(_))
    }

    /// True when some changes are left out.
    pub(in crate::http) fn leaves_out(&self) -> bool {
        self.source.leaves_out()
    }

    /// The name of the one service that is followed, if it is one.
    pub(in crate::http) fn only_service(&self) -> Option<&str> {
        match &self.source.followed {
            Followed::Services(list) if list.len() == 1 => Some(list[0].service().name().as_str()),
            _ => None,
        }
    }

    /// The last change that was passed on, left out, or shown in a snapshot.
    pub(in crate::http) fn cursor(&self) -> Revision {
        self.cursor
    }

    /// The next item, or none if there is nothing new.
    pub(in crate::http) fn next(&mut self) -> Option<WatchItem> {
        loop {
            match self.next {
                NextStep::Resync => {
                    self.next = NextStep::Snapshot;
                    return Some(WatchItem::Resync);
                }
                NextStep::Snapshot => return Some(self.start_over()),
                NextStep::Events => (),
            }
            if let Some(event) = self.batch.next() {
                self.cursor = event.revision;
                if self.is_news(&event) {
                    return Some(WatchItem::Event(event));
                }
                continue;
            }
            match self.source.read(&self.registry, self.cursor, BATCH_MAX) {
                Ok(page) if page.events.is_empty() => {
                    // An idle reader keeps nothing.
                    self.batch = Vec::new().into_iter();
                    if !self.source.leaves_out() || page.until <= self.cursor {
                        return None;
                    }
                    self.cursor = page.until;
                }
                Ok(page) => self.batch = page.events.into_iter(),
                Err(Compacted { .. }) => self.next = NextStep::Resync,
            }
        }
    }

    /// Waits until something changed. Cancel safe; may wake for nothing.
    pub(in crate::http) async fn changed(&mut self) {
        self.source.changed().await;
    }

    fn start_over(&mut self) -> WatchItem {
        let snapshot = match &self.source.followed {
            Followed::All(_) => self.registry.snapshot(),
            Followed::AllButCanary(_) => without_canary(self.registry.snapshot()),
            Followed::Services(list) => {
                let names = list.iter().map(|one| one.service().name().clone());
                self.registry.snapshot_of(&names.collect::<Vec<_>>())
            }
        };
        let snapshot = self.source.sight.of(snapshot);
        self.next = NextStep::Events;
        self.cursor = snapshot.revision;
        self.batch = Vec::new().into_iter();
        self.shown = snapshot.beyond();
        WatchItem::Snapshot(snapshot)
    }

    fn is_news(&mut self, event: &Event) -> bool {
        let Some(shown) = &self.shown else {
            return true;
        };
        let covered = shown.covers(event);
        if event.revision >= shown.covered_until() {
            self.shown = None;
        }
        !covered
    }
}

impl ChangeSource {
    pub(in crate::http) fn new(registry: &Registry, scope: impl Into<SeenScope>) -> Self {
        let SeenScope { scope, sight } = scope.into();
        let followed = match scope {
            Scope::All => Followed::All(registry.follow()),
            Scope::AllButCanary => Followed::AllButCanary(registry.follow()),
            Scope::Services(mut names) => {
                // One that is not seen is like one that never changes.
                names.retain(|name| sight.sees(name.as_str()));
                names.sort();
                names.dedup();
                let list = names.iter().map(|name| registry.follow_service(name));
                Followed::Services(list.collect())
            }
        };
        Self { followed, sight }
    }

    /// True when no change is left out.
    pub(in crate::http) fn is_whole(&self) -> bool {
        matches!(self.followed, Followed::All(_)) && self.sight.is_whole()
    }

    /// At most `max` changes after `cursor`, oldest first.
    pub(in crate::http) fn read(
        &self,
        registry: &Registry,
        cursor: Revision,
        max: usize,
    ) -> Result<Page, Compacted> {
        // Up to here all services are complete; beyond, one may be ahead of another.
        let newest = registry.newest();
        let mut events = Vec::new();
        match &self.followed {
            Followed::All(_) | Followed::AllButCanary(_) => events = registry.since(cursor, max)?,
            Followed::Services(list) => {
                for following in list {
                    events.append(&mut registry.since_of(following.service(), cursor, max)?);
                }
                events.retain(|event| event.revision <= newest);
                events.sort_by_key(|event| event.revision);
                events.truncate(max);
            }
        }
        let last = events.last().map(|event| event.revision);
        let until = match last {
            Some(last) if events.len() == max => last,
            Some(last) => last.max(newest),
            None => newest.max(cursor),
        };
        if self.leaves_out() {
            let with_canary = matches!(self.followed, Followed::All(_));
            events.retain(|event| {
                (with_canary || !is_of_canary(event)) && self.sight.sees_event(event)
            });
        }
        Ok(Page { events, until })
    }

    /// True when a page may have fewer changes than there are up to its end.
    pub(in crate::http) fn leaves_out(&self) -> bool {
        match self.followed {
            Followed::All(_) => !self.sight.is_whole(),
            Followed::AllButCanary(_) => true,
            Followed::Services(_) => false,
        }
    }

    /// Waits until something changed. Cancel safe; may wake for nothing.
    pub(in crate::http) async fn changed(&mut self) {
        match &mut self.followed {
            Followed::All(receiver) | Followed::AllButCanary(receiver) => {
                if receiver.changed().await.is_err() {
                    // The sender is in the registry that the reader holds.
                    std::future::pending::<()>().await;
                }
            }
            Followed::Services(list) => match list.as_mut_slice() {
                [] => std::future::pending().await,
                [only] => only.changed().await,
                several => {
                    let changes = several.iter_mut().map(|one| Box::pin(one.changed()));
                    select_all(changes).await;
                }
            },
        }
    }
}

/// A snapshot as a watcher gets it that leaves the canary out.
pub(in crate::http) fn without_canary(mut snapshot: Snapshot) -> Snapshot {
    let of_others = |(service, _): &(Arc<Service>, _)| service.name().as_str() != CANARY;
    snapshot.services.retain(of_others);
    snapshot
}

fn is_of_canary(event: &Event) -> bool {
    let name = event.service_name.as_ref();
    name.is_some_and(|name| name.as_str() == CANARY)
}

#[cfg(test)]
mod tests;
