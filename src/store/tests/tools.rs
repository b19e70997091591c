//! Check, repair, backup and restore.

use std::{fs, io::Cursor, path::Path};

use super::{
    super::{BackupFile, StoreError, StoreReport, check, repair, restore, verify},
    SMALL, Store, StoreOptions, Tables, all, drop_idle, fill,
};

const BIG: StoreOptions = StoreOptions {
    segment_bytes: 1 << 20,
    ..SMALL
};

/// A store in a folder, with a snapshot and a log behind it.
fn made(path: &Path) -> Tables {
    filled(path, SMALL, 200)
}

fn filled(path: &Path, options: StoreOptions, commits: u64) -> Tables {
    let mut model = Tables::new();
    let (store, _) = Store::open(path, options).unwrap();
    fill(&store, 0..commits, &mut model);
    store.close().unwrap();
    model
}

fn with_flipped(whole: &[u8], at: usize) -> Vec<u8> {
    let mut flipped = whole.to_owned();
    flipped[at] ^= 8;
    flipped
}

fn rows(report: &StoreReport) -> usize {
    report.tables.iter().map(|(_, rows)| rows).sum()
}

fn read(path: &Path) -> Tables {
    let (store, torn) = Store::open(path, SMALL).unwrap();
    assert_eq!(torn, None);
    all(&store.contents().unwrap())
}

#[test]
fn a_sound_store_is_checked_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let model = made(folder.path());
    let report = check(folder.path()).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(rows(&report), model.len());
    assert_eq!(report.newest, 200);
    assert_eq!(repair(folder.path()).unwrap().kept, None);
    assert_eq!(read(folder.path()), model);
    let (_open, _) = Store::open(folder.path(), SMALL).unwrap();
    assert!(matches!(
        check(folder.path()),
        Err(StoreError::Locked { .. })
    ));
    assert!(matches!(
        repair(folder.path()),
        Err(StoreError::Locked { .. })
    ));
    let none = folder.path().join("none");
    assert!(matches!(check(&none), Err(StoreError::Missing { .. })));
    assert!(!none.exists());
}

#[test]
fn a_repair_keeps_what_is_sound_and_says_what_it_drops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut model = Tables::new();
    let (store, _) = Store::open(path, BIG).unwrap();
    fill(&store, 0..100, &mut model);
    store.sync().unwrap();
    drop_idle(store);
    let log = path.join("log-0000000001");
    let whole = fs::read(&log).unwrap();
    let starts: Vec<_> = whole
        .windows(4)
        .enumerate()
        .filter(|(_, four)| four == b"mSt1")
        .map(|(at, _)| at)
        .collect();
    for at in (40..whole.len() - 60).step_by(97) {
        let flipped = with_flipped(&whole, at);
        fs::write(&log, &flipped).unwrap();
        assert!(matches!(
            Store::open(path, BIG),
            Err(StoreError::Damaged { .. })
        ));
        let repaired = repair(path).unwrap();
        let [fault] = &*repaired.before.faults else {
            panic!("{:?}", repaired.before.faults);
        };
        let from = *starts.iter().rfind(|start| **start <= at).unwrap();
        let to = starts.iter().find(|start| **start > at).copied();
        assert_eq!(fault.file, log);
        assert_eq!(fault.offset, from as u64);
        assert_eq!(fault.bytes, Some((to.unwrap_or(whole.len()) - from) as u64));
        assert!(!fault.is_torn);
        let kept = repaired.kept.unwrap();
        assert_eq!(fs::read(kept.join("log-0000000001")).unwrap(), flipped);
        let left = read(path);
        assert!(left.len() + 4 >= model.len(), "one commit has four writes");
        assert_eq!(check(path).unwrap().faults, []);
        // Commits follow.
        let (store, _) = Store::open(path, BIG).unwrap();
        fill(&store, 100..103, &mut left.clone());
        store.close().unwrap();
        drop_idle(store);
        for file in fs::read_dir(path).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() && file.file_name() != "FORMAT" {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
}

#[test]
fn a_damaged_snapshot_is_repaired_from_its_other_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = filled(path, SMALL, 400);
    let names = fs::read_dir(path).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let snapshot = names.into_iter().find(|name| name.starts_with("snapshot-"));
    let file = path.join(snapshot.unwrap());
    let whole = fs::read(&file).unwrap();
    for at in [40, whole.len() - 100, whole.len() - 3] {
        fs::write(&file, with_flipped(&whole, at)).unwrap();
        let report = check(path).unwrap();
        assert!(!report.faults.is_empty(), "byte {at}");
        assert_eq!(report.faults[0].file, file);
    }
    let repaired = repair(path).unwrap();
    assert_eq!(
        rows(&repaired.before),
        model.len(),
        "only its last bytes are damaged"
    );
    assert_eq!(read(path), model);
}

#[test]
fn an_unfinished_write_is_reported_as_such_and_not_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut model = Tables::new();
    let (store, _) = Store::open(path, BIG).unwrap();
    fill(&store, 0..5, &mut model);
    drop_idle(store);
    let log = path.join("log-0000000001");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(b"mSt1 and no more");
    fs::write(&log, &bytes).unwrap();
    let report = check(path).unwrap();
    assert_eq!(report.faults.len(), 1);
    assert!(report.faults[0].is_torn);
    let text = report.faults[0].to_string();
    assert!(
        text.contains("ends with an unfinished write: 16 bytes"),
        "{text}"
    );
}

fn backup_of(store: &Store) -> Vec<u8> {
    let mut backup = Vec::new();
    store.backup(&mut backup, &[]).unwrap();
    backup
}

#[test]
fn a_backup_of_an_open_store_is_restored_into_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let mut model = made(&from);
    let (store, _) = Store::open(&from, SMALL).unwrap();
    let backup = backup_of(&store);
    let before = model.clone();
    fill(&store, 200..220, &mut model);
    verify(Cursor::new(&backup)).unwrap();
    assert!(matches!(
        restore(Cursor::new(&backup), &from),
        Err(StoreError::Locked { .. })
    ));
    assert_eq!(restore(Cursor::new(&backup), &to).unwrap(), None);
    assert_eq!(read(&to), before);
    drop_idle(store);

    // Into a folder that has a store: that one is kept.
    let aside = restore(Cursor::new(&backup), &from).unwrap().unwrap();
    assert_eq!(read(&from), before);
    assert_eq!(read(&aside), model);
    let (store, _) = Store::open(&from, SMALL).unwrap();
    assert_eq!(store.stats().newest, 200, "numbers continue");
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = made(path);
    let (store, _) = Store::open(path, SMALL).unwrap();
    let backup = backup_of(&store);
    drop_idle(store);
    for at in (0..backup.len()).step_by(61) {
        let flipped = with_flipped(&backup, at);
        assert!(verify(Cursor::new(&flipped)).is_err(), "byte {at}");
        assert!(restore(Cursor::new(&flipped), path).is_err(), "byte {at}");
        let cut = &backup[..at];
        assert!(restore(Cursor::new(cut), path).is_err(), "cut at {at}");
    }
    assert!(!path.join("restoring").exists(), "nothing is left of them");
    assert_eq!(read(path), model);
}

#[test]
fn an_interrupted_restore_is_refused_until_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let model = made(path);
    let (store, _) = Store::open(path, SMALL).unwrap();
    let backup = backup_of(&store);
    drop_idle(store);
    fs::write(path.join("RESTORING"), "").unwrap();
    assert!(matches!(
        Store::open(path, SMALL),
        Err(StoreError::Restoring { .. })
    ));
    restore(Cursor::new(&backup), path).unwrap();
    assert_eq!(read(path), model);
}

#[test]
fn a_backup_has_files_of_other_rooms_up_to_their_length() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("from"), folder.path().join("to"));
    let model = made(&path);
    let (store, _) = Store::open(&path, SMALL).unwrap();
    fs::create_dir(path.join("messages")).unwrap();
    let content: Vec<u8> = (0_u8..=255).cycle().take(700_000).collect();
    let file = |len| BackupFile {
        name: "messages/one".into(),
        path: path.join("messages/one"),
        len,
    };
    fs::write(&file(0).path, &content).unwrap();
    let mut backup = Vec::new();
    store.backup(&mut backup, &[file(600_001)]).unwrap();
    restore(Cursor::new(&backup), &to).unwrap();
    assert_eq!(
        fs::read(to.join("messages/one")).unwrap(),
        content[..600_001]
    );
    assert_eq!(read(&to), model);
    // A file that is shorter than it was is no backup.
    let error = store.backup(Vec::new(), &[file(700_001)]).unwrap_err();
    assert!(error.to_string().contains("messages/one"), "{error}");
}
