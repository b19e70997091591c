//! The limits of watchers: in all, and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::Config;
use crate::telemetry::Metrics;

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

    fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "sse",
            Self::Socket => "websocket",
            Self::LongPoll => "long_poll",
            Self::Gateway => "gateway",
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
    pub(in crate::http) fn enter(
        &self,
        address: IpAddr,
        kind: WatcherKind,
    ) -> Result<Permit, TooManyWatchers> {
        let address = address.to_canonical();
        self.count_in(address)
            .inspect_err(|_| self.0.refused.inc())?;
        let gauge = self.0.watchers.with_label_values(&[kind.as_str()]);
        gauge.inc();
        Ok(Permit {
            limit: self.clone(),
            address,
            gauge,
        })
    }

    fn count_in(&self, address: IpAddr) -> Result<(), TooManyWatchers> {
        let mut inside = self.0.inside.lock();
        if inside.total >= self.0.max {
            return Err(TooManyWatchers::Full { max: self.0.max });
        }
        let max = self.0.per_address_max;
        let from_there = inside.by_address.entry(address).or_default();
        if *from_there >= max {
            return Err(TooManyWatchers::AddressFull { address, max });
        }
        *from_there += 1;
        inside.total += 1;
        Ok(())
    }
}

/// A counted watcher; dropping it frees the place.
#[derive(Debug)]
pub(in crate::http) struct Permit {
    limit: WatcherLimit,
    address: IpAddr,
    gauge: IntGauge,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauge.dec();
        let mut inside = self.limit.0.inside.lock();
        inside.total -= 1;
        if let Some(from_there) = inside.by_address.get_mut(&self.address) {
            *from_there -= 1;
            if *from_there == 0 {
                inside.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
