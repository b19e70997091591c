//! Files that are missing, and formats of other versions: a start refuses them, a repair keeps the rest.

use std::{fs, path::Path};

use super::{SMALL, Store, StoreError, StoreOptions, Tables, all, drop_idle, fill};
use crate::{
    disk::testing::SimDisk,
    store::{durable_end::DURABLE, repair, restore},
};

const BIG: StoreOptions = StoreOptions {
    segment_bytes: 1 << 20,
    ..SMALL
};

/// Makes a store with a log that no snapshot covers.
fn with_log(path: &Path) -> Tables {
    let mut model = Tables::new();
    let (store, _) = Store::open(path, BIG).unwrap();
    fill(&store, 0..50, &mut model);
    store.close().unwrap();
    model
}

/// Makes a store with a snapshot and the log behind it: the number of the snapshot.
fn with_snapshot(path: &Path) -> u64 {
    let (store, _) = Store::open(path, SMALL).unwrap();
    fill(&store, 0..100, &mut Tables::new());
    store.close().unwrap();
    drop_idle(store);
    let names = fs::read_dir(path).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbers = names.filter_map(|name| name.strip_prefix("snapshot-")?.parse().ok());
    numbers.max().expect("a snapshot was written")
}

/// The text with which a start is refused. It says what to do.
#[track_caller]
fn refused(path: &Path) -> String {
    let text = Store::open(path, SMALL).unwrap_err().to_string();
    assert!(text.contains("move the folder away"), "{text}");
    text
}

#[track_caller]
fn names_missing(path: &Path, name: &str) {
    let text = refused(path);
    let file = path.join(name);
    let expected = format!("{file:?} is missing: restore a backup");
    assert!(text.starts_with(&expected), "{text}");
}

fn log(number: u64) -> String {
    format!("log-{number:010}")
}

#[test]
fn a_format_without_a_log_is_no_new_store() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path());
    fs::remove_file(folder.path().join(log(1))).unwrap();
    names_missing(folder.path(), "log-0000000001");
    assert!(!folder.path().join(log(1)).exists(), "nothing was made");
}

#[test]
fn a_snapshot_without_the_log_behind_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = with_snapshot(folder.path());
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.display().to_string().contains("/log-") {
            fs::remove_file(path).unwrap();
        }
    }
    names_missing(folder.path(), &log(snapshot + 1));
}

#[test]
fn a_log_without_the_snapshot_before_it_names_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = format!("snapshot-{:010}", with_snapshot(folder.path()));
    fs::remove_file(folder.path().join(&snapshot)).unwrap();
    names_missing(folder.path(), &snapshot);
}

#[test]
fn a_segment_that_is_missing_among_others_is_named() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path());
    fs::copy(folder.path().join(log(1)), folder.path().join(log(3))).unwrap();
    names_missing(folder.path(), &log(2));
}

#[test]
fn a_folder_with_files_and_no_format_is_no_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_log(folder.path());
    fs::remove_file(folder.path().join("FORMAT")).unwrap();
    names_missing(folder.path(), "FORMAT");
    let repaired = repair(folder.path()).unwrap();
    assert_eq!(repaired.before.faults.len(), 1);
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    assert_eq!(all(&store.contents().unwrap()), model);

    // The broker makes its folder after the store.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("messages")).unwrap();
    names_missing(folder.path(), "FORMAT");
}

#[test]
fn what_a_repair_and_a_restore_leave_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let snapshot = with_snapshot(path);
    let (store, _) = Store::open(path, SMALL).unwrap();
    let (mut backup, model) = (Vec::new(), all(&store.contents().unwrap()));
    store.backup(&mut backup, &[]).unwrap();
    drop_idle(store);
    fs::remove_file(path.join(log(snapshot + 1))).unwrap();
    let repaired = repair(path).unwrap();
    assert_eq!(repaired.before.faults.len(), 1);
    names_after_loss_of_log(path);
    restore(&*backup, path).unwrap();
    let (store, _) = Store::open(path, SMALL).unwrap();
    assert_eq!(all(&store.contents().unwrap()), model);
    drop_idle(store);
    names_after_loss_of_log(path);
}

/// Both wrote a log behind the snapshot: without it the store is refused, with it opened.
#[track_caller]
fn names_after_loss_of_log(path: &Path) {
    drop(Store::open(path, SMALL).unwrap());
    let names = fs::read_dir(path).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = names.filter(|name| name.starts_with("log-")).max().unwrap();
    let bytes = fs::read(path.join(&last)).unwrap();
    fs::remove_file(path.join(&last)).unwrap();
    names_missing(path, &last);
    fs::write(path.join(&last), bytes).unwrap();
}

#[test]
fn the_format_is_compared_wholly() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_log(folder.path());
    let format = folder.path().join("FORMAT");
    let with = |text: &[u8]| {
        fs::write(&format, text).unwrap();
        Store::open(folder.path(), SMALL).map(drop)
    };
    let text = with(b"musterd store format 2\n").unwrap_err().to_string();
    assert!(
        text.contains("has format 2") && text.contains("use a newer one"),
        "{text}"
    );
    let text = with(b"musterd store format 0\n").unwrap_err().to_string();
    assert!(
        text.contains("has format 0") && text.contains("the version that wrote it"),
        "{text}"
    );
    let rubbish: [&[u8]; 9] = [
        b"",
        b"1\n",
        b"rubbish 1\n",
        b"musterd store format 1",
        b"musterd store format +1\n",
        b"musterd store format 01\n",
        b"musterd store format 1\n1\n",
        b"Musterd store format 1\n",
        b"musterd store format \xff\n",
    ];
    for text in rubbish {
        let refused = with(text).unwrap_err().to_string();
        assert!(
            refused.starts_with(&format!("{format:?} does not name the format of a store")),
            "{refused}"
        );
    }
    let repaired = repair(folder.path()).unwrap();
    let kept = repaired.kept.unwrap();
    assert_eq!(
        fs::read(kept.join("FORMAT")).unwrap(),
        b"musterd store format \xff\n"
    );
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    assert_eq!(all(&store.contents().unwrap()), model);
}

#[test]
fn a_backup_of_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    with_log(folder.path());
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    let mut backup = Vec::new();
    store.backup(&mut backup, &[]).unwrap();
    let plain = b"musterd store format 1\n";
    let at = backup.windows(plain.len()).position(|piece| piece == plain);
    let at = at.unwrap();
    for (text, expected) in [
        (b"musterd store format 2\n", "use a newer one"),
        (b"musterd store format 0\n", "the version that wrote it"),
        (b"musterd shop. format 1\n", "does not name its format"),
    ] {
        let mut changed = backup.clone();
        changed[at..at + plain.len()].copy_from_slice(text);
        changed[at - 4..at].copy_from_slice(&crc32fast::hash(text).to_le_bytes());
        let end = changed.len() - 4;
        let sum = crc32fast::hash(&changed[..end]).to_le_bytes();
        changed[end..].copy_from_slice(&sum);
        let target = tempfile::tempdir().unwrap();
        let error = restore(&*changed, target.path()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{cause}");
    }
}

/// Makes a store with several segments of the log and no snapshot that covers them, durable up to its end.
fn with_segments(disk: &SimDisk, is_closed: bool) -> Store {
    let options = StoreOptions {
        segment_bytes: 1 << 20,
        ..SMALL
    };
    let opened = Store::open_on(Box::new(disk.clone()), None, Path::new("sim"), options);
    let (store, _) = opened.unwrap();
    let mut model = Tables::new();
    for part in 0..4 {
        fill(&store, part * 20..part * 20 + 20, &mut model);
        store.sync().unwrap();
        store.inner.log.lock().rotate(&*store.inner.disk);
    }
    fill(&store, 80..81, &mut model);
    store.sync().unwrap();
    if is_closed {
        store.close().unwrap();
    }
    store
}

fn open_on(disk: &SimDisk) -> Result<Store, StoreError> {
    let opened = Store::open_on(Box::new(disk.clone()), None, Path::new("sim"), SMALL);
    opened.map(|(store, _)| store)
}

#[test]
fn the_loss_of_the_newest_segments_is_refused_and_the_newest_is_named() {
    for is_closed in [true, false] {
        let disk = SimDisk::default();
        drop(with_segments(&disk, is_closed));
        assert!(open_on(&disk.after_kill()).is_ok());
        let mut lost = disk.after_kill();
        for number in [5, 4, 3] {
            lost = lost.with(&log(number), None);
            let refused = open_on(&lost.after_kill()).unwrap_err().to_string();
            assert!(
                refused.starts_with("\"sim/log-0000000005\" is missing"),
                "{refused}"
            );
        }
        // Its last frames are lost, and nothing of what is left is torn.
        let whole = disk.content(&log(4));
        let frames: Vec<_> = whole
            .windows(4)
            .enumerate()
            .filter(|(_, four)| four == b"mSt1")
            .collect();
        let cut = whole[..frames[frames.len() - 2].0].to_vec();
        let cut = disk.with(&log(5), None).with(&log(4), Some(cut));
        assert!(open_on(&cut).is_err());
    }
}

#[test]
fn a_note_that_is_lost_damaged_or_behind_harms_nothing() {
    let disk = SimDisk::default();
    drop(with_segments(&disk, true));
    let newest = disk.content(DURABLE);
    let mut damaged = newest.clone();
    damaged[25] ^= 4;
    for note in [
        None,
        Some(damaged),
        Some(newest[..31].to_vec()),
        Some(Vec::new()),
    ] {
        let disk = disk.with(DURABLE, note);
        drop(open_on(&disk).unwrap());
        assert_eq!(
            disk.content(DURABLE)[20..28],
            newest[20..28],
            "it is right again"
        );
    }
}

#[test]
fn the_end_that_was_lost_is_reported_and_a_repair_keeps_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let model = with_log(folder.path());
    let (store, _) = Store::open(folder.path(), BIG).unwrap();
    store.inner.log.lock().rotate(&*store.inner.disk);
    fill(&store, 50..60, &mut model.clone());
    store.close().unwrap();
    drop_idle(store);
    fs::remove_file(folder.path().join(log(2))).unwrap();
    names_missing(folder.path(), &log(2));
    let repaired = repair(folder.path()).unwrap();
    let faults = repaired.before.faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].file, folder.path().join(log(2)));
    let (store, _) = Store::open(folder.path(), SMALL).unwrap();
    assert_eq!(all(&store.contents().unwrap()), model);
}
