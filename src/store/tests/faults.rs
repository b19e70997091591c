//! The store against a model, with a fault at every call of the disk.

use std::path::Path;

use super::{SMALL, Tables, all, change};
use crate::{
    disk::testing::{Fault, SimDisk},
    store::{Store, StoreError, Writes},
};

const COMMITS: u64 = 60;

/// The commits that were acknowledged in a run.
#[derive(Debug, Default)]
struct Promised {
    /// The tables after each commit that was answered, the empty store first.
    after: Vec<Tables>,
    /// How many of them were durable at least.
    durable: usize,
    /// Whether the store ended with a failure.
    failed: bool,
}

fn open(disk: &SimDisk) -> Result<Store, StoreError> {
    let opened = Store::open_on(Box::new(disk.clone()), None, Path::new("sim"), SMALL);
    opened.map(|(store, _)| store)
}

/// Commits, syncs and merges until the end or until the store fails. A full disk is mended after three refusals.
fn run(disk: &SimDisk) -> Promised {
    let mut promised = Promised {
        after: vec![Tables::new()],
        ..Promised::default()
    };
    let Ok(store) = open(disk) else {
        promised.failed = true;
        return promised;
    };
    let mut model = Tables::new();
    let mut writes = Writes::default();
    let (mut n, mut refused) = (0, 0);
    while n < COMMITS {
        let before = model.clone();
        change(n, &mut writes, &mut model);
        match store.commit(&mut writes) {
            Ok(_) => {
                promised.after.push(model.clone());
                n += 1;
            }
            Err(StoreError::Full) => {
                model = before;
                refused += 1;
                if refused == 3 {
                    disk.set(Fault::None);
                }
                assert!(refused < 4, "it recovers when space returns");
                continue;
            }
            Err(_) => {
                promised.failed = true;
                return promised;
            }
        }
        // One thread at a time, so that the calls are counted the same way in each run.
        store.inner.merges.wait();
        if n.is_multiple_of(4) {
            let synced = store.sync();
            if synced.is_err() {
                promised.failed = true;
                return promised;
            }
            promised.durable = promised.after.len() - 1;
        }
    }
    promised
}

/// The store after a crash is that after some commit, not before the `least`-th one.
#[track_caller]
fn check(disk: &SimDisk, promised: &Promised, least: usize, what: &str) {
    let store = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = all(&store.contents().unwrap());
    let newest = usize::try_from(store.stats().newest).unwrap();
    assert!(newest >= least, "{what}: {newest} of at least {least}");
    match promised.after.get(newest) {
        Some(expected) => assert_eq!(found, *expected, "{what}: commit {newest}"),
        // The commit that failed may be there as a whole: it was not acknowledged.
        None => assert_eq!(newest, promised.after.len(), "{what}"),
    }
}

#[test]
fn nothing_promised_is_lost_whichever_call_fails() {
    let disk = SimDisk::default();
    let promised = run(&disk);
    assert!(!promised.failed && promised.after.len() > 50);
    let calls = disk.calls();
    assert!(calls > 100, "{calls} calls");
    let mut random = fastrand::Rng::with_seed(1);
    for at in 0..calls {
        for fault in [Fault::Full(at), Fault::Io(at), Fault::Power(at)] {
            let disk = SimDisk::default();
            disk.set(fault);
            let promised = run(&disk);
            let what = format!("{fault:?}");
            if at > 12 && matches!(fault, Fault::Full(_)) {
                assert!(!promised.failed, "{what}: a full disk is no failure");
            }
            let answered = promised.after.len() - 1;
            check(&disk.after_kill(), &promised, answered, &what);
            for _ in 0..3 {
                let left = disk.after_power_loss(&mut random);
                check(&left, &promised, promised.durable, &what);
            }
        }
    }
}
