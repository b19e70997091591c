//! The limits of watchers: in all, and from one address.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::Config;
use crate::{
    catalog::Identity,
    http::serve::connection::HttpPeer,
    model::{Revision, Timestamp},
    telemetry::Metrics,
};

/// The most bytes of a scope that are kept to be shown.
const SCOPE_BYTES_MAX: usize = 200;

/// The kinds of watchers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum WatcherKind {
    /// Server-sent events.
    Stream,
    /// A WebSocket.
    Socket,
    /// A request that waits for a change.
    LongPoll,
    /// Server-sent events for a gateway.
    Gateway,
}

impl WatcherKind {
    const ALL: [Self; 4] = [Self::Stream, Self::Socket, Self::LongPoll, Self::Gateway];

    pub(in crate::http) fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "sse",
            Self::Socket => "websocket",
            Self::LongPoll => "long_poll",
            Self::Gateway => "gateway",
        }
    }
}

/// An open watcher, as it is shown.
#[derive(Debug)]
pub(in crate::http) struct WatcherEntry {
    pub(in crate::http) kind: WatcherKind,
    /// With the port, where it is known.
    pub(in crate::http) client: Box<str>,
    pub(in crate::http) identity: Option<Arc<str>>,
    /// The services that it follows, "*" for all.
    pub(in crate::http) scope: Box<str>,
    pub(in crate::http) since: Timestamp,
    address: IpAddr,
    /// The last change that it was sent; 0 before the first.
    cursor: AtomicU64,
}

impl WatcherEntry {
    pub(in crate::http) fn new(
        peer: &HttpPeer,
        kind: WatcherKind,
        scope: &str,
        since: Timestamp,
    ) -> Self {
        let client = peer.socket.map(|socket| socket.to_string());
        let mut end = scope.len().min(SCOPE_BYTES_MAX);
        while !scope.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            kind,
            client: client.unwrap_or_else(|| peer.address.to_string()).into(),
            identity: match &peer.identity {
                Identity::Of(principal) => Some(Arc::clone(principal.name())),
                Identity::Anonymous | Identity::Daemon => None,
            },
            scope: scope[..end].into(),
            since,
            address: peer.address.to_canonical(),
            cursor: AtomicU64::new(0),
        }
    }

    /// Notes how far it has been served.
    pub(in crate::http) fn reached(&self, revision: Revision) {
        self.cursor.store(revision.0, Ordering::Relaxed);
    }

    /// How far it has been served; none for one that waits for its only answer.
    pub(in crate::http) fn cursor(&self) -> Option<Revision> {
        match self.kind {
            WatcherKind::Stream | WatcherKind::Socket => {
                Some(Revision(self.cursor.load(Ordering::Relaxed)))
            }
            WatcherKind::LongPoll | WatcherKind::Gateway => None,
        }
    }
}

/// Counts watchers against their limits.
#[derive(Clone, Debug)]
pub(in crate::http) struct WatcherLimit(Arc<LimitState>);

#[derive(Debug)]
struct LimitState {
    max: usize,
    per_address_max: usize,
    inside: Mutex<Inside>,
    watchers: IntGaugeVec,
    refused: IntCounter,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    /// Those that are open, by number: the oldest first.
    open: BTreeMap<u64, Arc<WatcherEntry>>,
    next: u64,
}

/// Why a watcher was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::http) enum TooManyWatchers {
    /// There are too many in all.
    #[error(
        "there are too many watchers: http.watch.watchers_max is {max}; try again when others have disconnected"
    )]
    Full {
        /// The limit.
        max: usize,
    },
    /// From one address.
    #[error(
        "there are too many watchers from {address}: http.watch.watchers_per_address_max is {max}"
    )]
    AddressFull {
        /// The address.
        address: IpAddr,
        /// The limit.
        max: usize,
    },
}

impl WatcherLimit {
    pub(in crate::http) fn new(config: &Config, metrics: &Metrics) -> Self {
        let watchers = metrics.gauges(
            "musterd_watchers",
            "Streams and waiting requests, by kind.",
            &["kind"],
        );
        for kind in WatcherKind::ALL {
            watchers.with_label_values(&[kind.as_str()]).set(0);
        }
        Self(Arc::new(LimitState {
            max: config.watchers_max.get(),
            per_address_max: config.watchers_per_address_max.get(),
            inside: Mutex::default(),
            watchers,
            refused: metrics.counter(
                "musterd_watchers_refused_total",
                "Watchers refused because there were too many.",
            ),
        }))
    }

    /// Counts a watcher until its permit is dropped.
    ///
    /// # Errors
    /// There are too many, in all or from this address.
    pub(in crate::http) fn enter(&self, entry: WatcherEntry) -> Result<Permit, TooManyWatchers> {
        let gauge = self.0.watchers.with_label_values(&[entry.kind.as_str()]);
        let entry = Arc::new(entry);
        let number = self
            .count_in(&entry)
            .inspect_err(|_| self.0.refused.inc())?;
        gauge.inc();
        Ok(Permit {
            limit: self.clone(),
            entry,
            number,
            gauge,
        })
    }

    fn count_in(&self, entry: &Arc<WatcherEntry>) -> Result<u64, TooManyWatchers> {
        let mut inside = self.0.inside.lock();
        if inside.total >= self.0.max {
            return Err(TooManyWatchers::Full { max: self.0.max });
        }
        let (max, address) = (self.0.per_address_max, entry.address);
        let from_there = inside.by_address.entry(address).or_default();
        if *from_there >= max {
            return Err(TooManyWatchers::AddressFull { address, max });
        }
        *from_there += 1;
        inside.total += 1;
        let number = inside.next;
        inside.next += 1;
        inside.open.insert(number, Arc::clone(entry));
        Ok(number)
    }

    /// The watchers that are open longest, at most so many, and how many there are.
    pub(in crate::http) fn open(&self, max: usize) -> (Vec<Arc<WatcherEntry>>, usize) {
        let inside = self.0.inside.lock();
        (
            inside.open.values().take(max).cloned().collect(),
            inside.total,
        )
    }

    /// How many there are, and may be.
    pub(in crate::http) fn used(&self) -> (usize, usize) {
        (self.0.inside.lock().total, self.0.max)
    }
}

/// A counted watcher; dropping it frees the place.
#[derive(Debug)]
pub(in crate::http) struct Permit {
    limit: WatcherLimit,
    entry: Arc<WatcherEntry>,
    number: u64,
    gauge: IntGauge,
}

impl Permit {
    /// How the watcher is shown.
    pub(in crate::http) fn entry(&self) -> &Arc<WatcherEntry> {
        &self.entry
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.dec();
        let mut inside = self.limit.0.inside.lock();
        inside.total -= 1;
        inside.open.remove(&self.number);
        if let Some(from_there) = inside.by_address.get_mut(&self.entry.address) {
            *from_there -= 1;
            if *from_there == 0 {
                inside.by_address.remove(&self.entry.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
