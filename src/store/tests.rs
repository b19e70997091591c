mod crashes;
mod endings;
mod faults;
mod missing;
mod tools;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use super::{Contents, Store, StoreError, StoreOptions, SyncMode, TornTail, Writes};

pub(super) const SMALL: StoreOptions = StoreOptions {
    sync: SyncMode::Os,
    segment_bytes: 2_000,
};

pub(super) type Tables = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// All entries, read table by table.
pub(super) fn all(contents: &Contents) -> Tables {
    let mut tables = Tables::new();
    for table in contents.tables() {
        let mut before = None;
        for entry in contents.table(&table) {
            let (key, value) = entry.unwrap();
            assert!(before.as_ref() < Some(&key), "keys are ordered");
            before = Some(key.clone());
            tables.insert((table.clone(), key.to_vec()), value.to_vec());
        }
    }
    tables
}

/// Commit number `n`: sets some keys and removes others, in two tables.
pub(super) fn change(n: u64, writes: &mut Writes, model: &mut Tables) {
    writes.clear();
    for (table, of) in [("a", n), ("b", n * 7)] {
        let (set, gone) = ((of % 37).to_be_bytes(), (of % 11).to_be_bytes());
        let value = vec![u8::try_from(n % 251).unwrap(); usize::try_from(n % 90).unwrap()];
        writes.put(table, &set, &value);
        model.insert((table.into(), set.to_vec()), value);
        if n.is_multiple_of(3) {
            writes.delete(table, &gone);
            model.remove(&(table.into(), gone.to_vec()));
        }
    }
}

/// Drops a store when its thread has written the snapshot: that thread keeps the folder locked.
fn drop_idle(store: Store) {
    store.inner.merges.wait();
    drop(store);
}

pub(super) fn fill(store: &Store, commits: std::ops::Range<u64>, model: &mut Tables) {
    let mut writes = Writes::default();
    for n in commits {
        change(n, &mut writes, model);
        store.commit(&mut writes).unwrap();
    }
}

fn log_files(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("log-")).collect();
    names.sort();
    names
}

#[test]
fn what_was_committed_is_there_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/store");
    let mut model = Tables::new();
    for life in 0..6 {
        let (store, torn) = Store::open(&path, SMALL).unwrap();
        assert_eq!(torn, None);
        assert_eq!(all(&store.contents().unwrap()), model, "life {life}");
        fill(&store, life * 100..life * 100 + 100, &mut model);
        assert_eq!(all(&store.contents().unwrap()), model);
        assert_eq!(store.stats().newest, life * 100 + 100);
        store.close().unwrap();
    }
    assert!(log_files(&path).len() < 12, "snapshots replace segments");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_range_begins_at_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    let mut writes = Writes::default();
    for key in 0..200_u8 {
        writes.put("t", &[key], &[key; 40]);
    }
    store.commit(&mut writes).unwrap();
    store.close().unwrap();
    writes.clear();
    writes.put_with("t", &[150], |value| value.push(1));
    writes.delete("t", &[151]);
    store.commit(&mut writes).unwrap();
    let contents = store.contents().unwrap();
    let found: Vec<_> = contents.range("t", &[149]).map(Result::unwrap).collect();
    let keys: Vec<_> = found.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys[..4], [149, 150, 152, 153]);
    assert_eq!(*found[1].1, [1]);
    assert_eq!(contents.table("none").count(), 0);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path(), SMALL);
    let first = open().unwrap();
    assert!(matches!(open(), Err(StoreError::Locked { .. })));
    drop(first);
    open().unwrap();
}

#[test]
fn a_torn_end_is_cut_off_and_damage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let big = StoreOptions {
        segment_bytes: 1 << 20,
        ..SMALL
    };
    let mut model = Tables::new();
    let (store, _) = Store::open(path, big).unwrap();
    fill(&store, 0..50, &mut model);
    store.sync().unwrap();
    let durable = model.clone();
    fill(&store, 50..51, &mut model);
    drop_idle(store);
    let log = path.join("log-0000000001");
    let whole = fs::read(&log).unwrap();

    // Every shorter end of the last commit, and every flipped bit in it.
    let start = whole.windows(4).rposition(|four| four == b"mSt1").unwrap();
    for end in start + 1..whole.len() {
        fs::write(&log, &whole[..end]).unwrap();
        let (store, torn) = Store::open(path, big).unwrap();
        let torn = torn.unwrap();
        assert_eq!(
            (torn.offset, torn.bytes),
            (start as u64, (end - start) as u64)
        );
        assert_eq!(all(&store.contents().unwrap()), durable);
    }
    // A bit anywhere before it: a commit that was durable.
    for at in (0..start - 28).step_by(13) {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&log, &flipped).unwrap();
        match Store::open(path, big) {
            Err(StoreError::Damaged { file, offset }) => {
                assert_eq!(file, log);
                assert!(offset <= at as u64 && offset + 300 > at as u64);
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn a_torn_end_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    fill(&store, 0..3, &mut Tables::new());
    drop_idle(store);
    let log = folder.path().join("log-0000000001");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(&[0; 100]);
    fs::write(&log, &bytes).unwrap();
    let (store, torn) = Store::open(folder.path(), SMALL).unwrap();
    let offset = (bytes.len() - 100) as u64;
    let expected = TornTail {
        file: log,
        offset,
        bytes: 100,
    };
    assert_eq!(torn, Some(expected));
    drop_idle(store);
    assert_eq!(Store::open(folder.path(), SMALL).unwrap().1, None);
}

#[test]
fn damage_in_a_snapshot_names_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    fill(&store, 0..100, &mut Tables::new());
    store.close().unwrap();
    let number = store
        .inner
        .log
        .lock()
        .snapshot
        .as_ref()
        .unwrap()
        .name
        .to_string();
    drop_idle(store);
    let file = folder.path().join(number);
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(29) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&file, &flipped).unwrap();
        let read = Store::open(folder.path(), SMALL).and_then(|(store, _)| {
            let contents = store.contents()?;
            let tables = contents.tables();
            let entries = tables.iter().flat_map(|table| contents.table(table));
            entries.collect::<Result<Vec<_>, _>>()
        });
        assert!(
            matches!(&read, Err(StoreError::Damaged { file: named, .. }) if *named == file),
            "byte {at}: {read:?}"
        );
    }
}
