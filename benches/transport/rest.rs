//! What REST callers notice of the flag: latency in `queue` against `direct`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread::scope,
    time::Duration,
};

use crate::{
    client::{Client, registration},
    daemon::Daemon,
    pace::{Latencies, at_most, at_rate},
    report::{Halves, pairs},
};

const DISCOVER: &str = "/services/discover/load-7?healthy_only=true";

/// Numbers of changes: none twice, so that each is an event.
pub(crate) static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Registers one change after the other over one connection.
pub(crate) fn registering(daemon: &Daemon) -> impl FnMut(u64) + use<> {
    let mut client = Client::open(daemon.http);
    move |_| {
        let body = registration(CHANGES.fetch_add(1, Ordering::Relaxed));
        client.ask("POST", "/services/register", body.as_bytes());
    }
}

fn discovering(daemon: &Daemon) -> impl FnMut(u64) + use<> {
    let mut client = Client::open(daemon.http);
    move |_| {
        client.ask("GET", DISCOVER, b"");
    }
}

/// register at `rate` changes a second.
pub(crate) fn register(daemon: &Daemon, n_pairs: usize, time: Duration, rate: f64) -> Halves {
    pairs(n_pairs, ["queue", "direct"], |mode| {
        daemon.settle(mode);
        at_rate(rate, time, || registering(daemon))
    })
}

/// discover at half its maximum during 1,000 changes a second; that maximum too.
pub(crate) fn discover(daemon: &Daemon, n_pairs: usize, time: Duration) -> (f64, Halves) {
    daemon.settle("direct");
    let most = with_changes(daemon, time, || at_most(time, || discovering(daemon)));
    let halves = pairs(n_pairs, ["queue", "direct"], |mode| {
        daemon.settle(mode);
        with_changes(daemon, time, || -> Latencies {
            at_rate(most / 2.0, time, || discovering(daemon))
        })
    });
    (most, halves)
}

fn with_changes<T>(daemon: &Daemon, time: Duration, work: impl FnOnce() -> T) -> T {
    scope(|threads| {
        threads.spawn(|| at_rate(1_000.0, time, || registering(daemon)));
        work()
    })
}
