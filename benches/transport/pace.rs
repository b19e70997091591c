//! Load at a fixed rate, whatever the answers do: each request has a moment at which it is due, and its
//! latency counts from there.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    thread::{scope, sleep},
    time::Duration,
};

use tokio::time::Instant;

/// Connections, each with a thread that mostly sleeps.
const CONNECTIONS: usize = 8;
/// Of each run, the share at its beginning that does not count.
const WARM_UP: f64 = 0.2;

/// Latencies in ns, sorted.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    pub(crate) fn new(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Self(nanos)
    }

    /// In µs; `share` in thousandths.
    pub(crate) fn at(&self, share: usize) -> f64 {
        let at = self.0.len().saturating_sub(1) * share / 1_000;
        self.0.get(at).map_or(f64::NAN, |nanos| *nanos as f64 / 1e3)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.at(500)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.at(990)
    }
}

/// Threads of this process that sleep shall wake when they are due, not 50 µs later: those that are made
/// afterwards inherit it.
pub(crate) fn wake_in_time() {
    fs::write("/proc/self/timerslack_ns", "1").expect("a kernel that lets us");
}

/// Asks at `rate` for `time`; `make` makes what asks over one connection, given the number of the request.
pub(crate) fn at_rate<A: FnMut(u64)>(
    rate: f64,
    time: Duration,
    make: impl Fn() -> A + Sync,
) -> Latencies {
    let begin = Instant::now() + Duration::from_millis(20);
    let lanes: Vec<_> = (0..CONNECTIONS).collect();
    let lane = |lane: usize| {
        let mut ask = make();
        let mut nanos = Vec::new();
        for n in (lane..).step_by(CONNECTIONS) {
            let offset = Duration::from_secs_f64(n as f64 / rate);
            if offset > time.mul_f64(1.0 + WARM_UP) {
                break;
            }
            let due = begin + offset;
            sleep(due.saturating_duration_since(Instant::now()));
            ask(n as u64);
            if offset > time.mul_f64(WARM_UP) {
                nanos.push(u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
        }
        nanos
    };
    scope(|threads| {
        let lane = &lane;
        let running: Vec<_> = lanes.iter().map(|at| threads.spawn(|| lane(*at))).collect();
        let all = running
            .into_iter()
            .flat_map(|one| one.join().expect("no request fails"));
        Latencies::new(all.collect())
    })
}

/// Asks as fast as answers come, for `time`; requests a second.
pub(crate) fn at_most<A: FnMut(u64)>(time: Duration, make: impl Fn() -> A + Sync) -> f64 {
    let begin = Instant::now();
    let asked = AtomicU64::new(0);
    scope(|threads| {
        for _ in 0..CONNECTIONS {
            threads.spawn(|| {
                let mut ask = make();
                while begin.elapsed() < time {
                    ask(asked.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    asked.into_inner() as f64 / begin.elapsed().as_secs_f64()
}
