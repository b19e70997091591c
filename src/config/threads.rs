//! How many threads HTTP and everything else have.

use std::num::NonZero;

use serde::Deserialize;

use crate::quantity::Bounded;

/// Section `threads`. HTTP has separate threads. One pool for all cores costs more in wake-ups than it gains,
/// and AMQP work would delay HTTP.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Threads {
    /// Threads that serve HTTP; 0 for half of the machine's cores.
    pub http: Bounded<u16, 0, 1_024>,
    /// Threads that do everything else; 0 for the other cores.
    pub other: Bounded<u16, 0, 1_024>,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            http: 0.into(),
            other: 0.into(),
        }
    }
}

/// How many the process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl Threads {
    /// Threads for HTTP on a machine with this many cores, at least one.
    pub fn http(self, cores: usize) -> usize {
        match *self.http {
            0 => (cores / 2).max(1),
            given => given.into(),
        }
    }

    /// Threads for everything else, beside `http` threads for HTTP, at least one.
    pub fn other(self, cores: usize, http: usize) -> usize {
        match *self.other {
            0 => cores.saturating_sub(http).max(1),
            given => given.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Threads;

    #[test]
    fn cores_are_divided_and_each_runtime_has_one() {
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
            let threads = Threads {
                http: http.into(),
                other: other.into(),
            };
            let served = threads.http(cores);
            let shared = (served, threads.other(cores, served));
            assert_eq!(shared, expected, "{threads:?} on {cores} cores");
        }
        // Where no HTTP is served.
        assert_eq!(Threads::default().other(2, 0), 2);
        assert_eq!(
            Threads {
                http: 1.into(),
                other: 3.into()
            }
            .other(2, 0),
            3
        );
    }
}
