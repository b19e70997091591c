//! A store that is closed, or abandoned, while a thread still works.

use std::{path::Path, thread, time::Duration};

use tokio::time::Instant;

use super::{SMALL, Tables, all, change, fill};
use crate::{
    disk::{
        Disk,
        testing::{Fault, SimDisk},
    },
    store::{Store, StoreOptions, Writes},
};

impl Store {
    /// A store on a disk in memory, which makes nothing durable by itself.
    pub(crate) fn on_sim(disk: &SimDisk) -> Self {
        let options = StoreOptions { ..SMALL };
        let opened = Self::open_on(Box::new(disk.clone()), None, Path::new("sim"), options);
        opened.unwrap().0
    }

    /// Commits until a thread writes a snapshot.
    pub(crate) fn commit_until_merging(&self) {
        let mut writes = Writes::default();
        for n in 0.. {
            if self.inner.merges.is_on() {
                return;
            }
            change(n, &mut writes, &mut Tables::new());
            self.commit(&mut writes).unwrap();
        }
    }
}

fn until(reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !reached() {
        assert!(Instant::now() < deadline, "it never comes to that");
        thread::yield_now();
    }
}

#[test]
fn a_merge_that_is_abandoned_leaves_a_file_that_the_next_start_removes() {
    let disk = SimDisk::default();
    let store = Store::on_sim(&disk);
    let mut model = Tables::new();
    let unfinished = || {
        let names = disk.names().unwrap();
        names.iter().any(|name| name.ends_with(".tmp"))
    };
    let held = disk.hold_syncs();
    fill(&store, 0..100, &mut model);
    until(unfinished);
    // As at the end of the process.
    let left = disk.after_kill();
    drop(held);
    store.close().unwrap();
    let again = Store::on_sim(&left);
    assert_eq!(all(&again.contents().unwrap()), model);
    let names = left.names().unwrap();
    assert!(
        names.iter().all(|name| !name.ends_with(".tmp")),
        "{names:?}"
    );
}

#[test]
fn a_merge_that_panics_keeps_neither_the_next_one_nor_the_end_waiting() {
    let disk = SimDisk::default();
    let store = Store::on_sim(&disk);
    let mut model = Tables::new();
    disk.set(Fault::Panic);
    fill(&store, 0..100, &mut model);
    until(|| store.stats().degraded.is_some());
    let why = store.stats().degraded.unwrap();
    assert!(why.contains("panicked"), "{why}");
    until(|| !store.inner.merges.is_on());
    disk.set(Fault::None);
    fill(&store, 100..200, &mut model);
    until(|| store.stats().snapshots > 0);
    store.close().unwrap();
    assert_eq!(store.stats().degraded, None);
    assert_eq!(all(&store.contents().unwrap()), model);
}
