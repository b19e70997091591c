//! How the machine's cores are shared out.

use std::num::NonZero;

use serde::Deserialize;

/// More threads than any machine has cores.
const THREADS_MAX: u16 = 1024;

/// Section `threads`. Those of HTTP are threads of their own: on a thread for each core, waking and moving
/// tasks between threads costs more than a second thread brings, and what comes by AMQP would take turns
/// with what is asked over HTTP.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Threads {
    /// Threads that serve HTTP; 0 for half of the machine's cores.
    pub http: u16,
    /// Threads that do everything else; 0 for the other cores.
    pub other: u16,
}

/// How many the process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl Threads {
    /// How many serve HTTP on a machine with so many cores, at least one.
    pub fn http(self, cores: usize) -> usize {
        match self.http {
            0 => (cores / 2).max(1),
            given => given.into(),
        }
    }

    /// How many do everything else on a machine with so many cores where so many serve HTTP, at least one.
    pub fn other(self, cores: usize, http: usize) -> usize {
        match self.other {
            0 => cores.saturating_sub(http).max(1),
            given => given.into(),
        }
    }

    /// What a type can't say by itself.
    pub(super) fn faults(self) -> Vec<String> {
        [("http", self.http), ("other", self.other)]
            .into_iter()
            .filter(|(_, threads)| *threads > THREADS_MAX)
            .map(|(key, _)| {
                format!(
                    "threads.{key} must be at most {THREADS_MAX}; 0 for as many as fit the machine"
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;

    #[test]
    fn cores_are_shared_out_and_nobody_is_left_without() {
        for (http, other, cores, expected) in [
            (0, 0, 1, (1, 1)),
            (0, 0, 2, (1, 1)),
            (0, 0, 3, (1, 2)),
            (0, 0, 8, (4, 4)),
            (6, 0, 8, (6, 2)),
            (9, 0, 8, (9, 1)),
            (0, 1, 8, (4, 1)),
            (3, 5, 2, (3, 5)),
        ] {
            let threads = Threads { http, other };
            let served = threads.http(cores);
            let shared = (served, threads.other(cores, served));
            assert_eq!(shared, expected, "{threads:?} on {cores} cores");
        }
        // Where no HTTP is served.
        assert_eq!(Threads::default().other(2, 0), 2);
        assert_eq!(Threads { http: 1, other: 3 }.other(2, 0), 3);
    }
}
