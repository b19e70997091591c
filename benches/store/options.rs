//! What the command line says.

use std::{path::Path, str::FromStr, time::Duration};

use tempfile::TempDir;

pub(crate) struct Options {
    /// Runs of each side of a comparison.
    pub(crate) pairs: usize,
    /// How long a run is measured.
    pub(crate) time: Duration,
    /// Messages that wait before they are consumed.
    pub(crate) waiting: u64,
    /// Instances that a start reads.
    pub(crate) instances: u64,
    /// Messages of 1 KB that a start finds.
    pub(crate) messages: u64,
    /// How much is queued while memory is measured.
    pub(crate) gigabytes: u64,
    pub(crate) list: bool,
    /// Parts of names of cases; empty: all.
    only: Vec<String>,
}

impl Options {
    pub(crate) fn read() -> Self {
        let mut options = Self {
            pairs: 3,
            time: Duration::from_secs(2),
            waiting: 100_000,
            instances: 100_000,
            messages: 1_000_000,
            gigabytes: 1,
            list: false,
            only: Vec::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let name = argument.clone();
            let value = || arguments.next();
            options.take(&name, value);
        }
        options
    }

    fn take(&mut self, name: &str, value: impl FnOnce() -> Option<String>) {
        match name {
            "--bench" => {}
            "--list" => self.list = true,
            "--long" => self.gigabytes = 10,
            "--pairs" => self.pairs = number(name, value()),
            "--seconds" => self.time = Duration::from_secs_f64(number(name, value())),
            "--waiting" => self.waiting = number(name, value()),
            "--instances" => self.instances = number(name, value()),
            "--messages" => self.messages = number(name, value()),
            "--gigabytes" => self.gigabytes = number(name, value()),
            part => {
                assert!(!part.starts_with("--"), "no option is called {part}");
                self.only.push(part.to_owned());
            }
        }
    }

    pub(crate) fn wants(&self, case: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| case.contains(part.as_str()))
    }
}

fn number<T: FromStr>(name: &str, value: Option<String>) -> T {
    let number = value.and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{name} takes a number"))
}

/// A new folder on the disk that is measured.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder below target")
}
