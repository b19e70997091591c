//! A loss of power while a store is opened, made or cut: the next start finds everything that was promised.

use std::path::Path;

use super::{SMALL, Tables, all, change};
use crate::{
    disk::{
        Disk,
        testing::{Fault, SimDisk},
    },
    store::{Store, StoreError, Writes},
};

fn open(disk: &SimDisk) -> Result<Store, StoreError> {
    let opened = Store::open_on(Box::new(disk.clone()), None, Path::new("sim"), SMALL);
    opened.map(|(store, _)| store)
}

/// Opens the store with the power lost at each call, and again after each state that this can leave.
fn open_with_crashes(disk: &SimDisk, expected: impl Fn(&Tables) -> bool) -> u64 {
    let mut random = fastrand::Rng::with_seed(3);
    let whole = disk.after_kill();
    open(&whole).unwrap();
    for at in 0..whole.calls() {
        for _ in 0..8 {
            let crashed = disk.after_kill();
            crashed.set(Fault::Power(at));
            // It fails, unless what was lost is a mark.
            let _ = open(&crashed);
            let left = crashed.after_power_loss(&mut random);
            let store = open(&left).unwrap_or_else(|error| panic!("call {at}: {error}"));
            assert!(expected(&all(&store.contents().unwrap())), "call {at}");
        }
    }
    whole.calls()
}

#[test]
fn a_store_is_made_however_often_the_power_is_lost() {
    let calls = open_with_crashes(&SimDisk::default(), Tables::is_empty);
    assert!(calls >= 6, "{calls} calls");
}

/// A store that commits without a snapshot and without a sync after the first commits.
fn unsynced(disk: &SimDisk) -> Vec<Tables> {
    let store = open(disk).unwrap();
    // From now on no snapshot is written, so that the log has several segments.
    store.close().unwrap();
    let (mut model, mut writes) = (Tables::new(), Writes::default());
    let mut after = vec![model.clone()];
    for n in 0..60 {
        change(n, &mut writes, &mut model);
        store.commit(&mut writes).unwrap();
        after.push(model.clone());
    }
    after
}

#[test]
fn names_of_segments_become_durable_in_their_order() {
    let disk = SimDisk::default();
    let after = unsynced(&disk);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..200 {
        let left = disk.after_power_loss(&mut random);
        let store = open(&left).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let found = all(&store.contents().unwrap());
        assert!(after.contains(&found), "round {round}");
    }
}

#[test]
fn a_torn_end_of_several_segments_is_cut_however_often_the_power_is_lost() {
    let disk = SimDisk::default();
    let store = open(&disk).unwrap();
    store.close().unwrap();
    let (mut model, mut writes) = (Tables::new(), Writes::default());
    while disk.names().unwrap().len() < 5 {
        change(store.stats().newest, &mut writes, &mut model);
        store.commit(&mut writes).unwrap();
        // The names of the segments only: what is in them is not durable.
        store.inner.disk.sync().unwrap();
        store.inner.log.lock().names_synced(u64::MAX);
    }
    let torn = disk.with("log-0000000001", Some(vec![0; 500]));
    open_with_crashes(&torn, Tables::is_empty);
}
