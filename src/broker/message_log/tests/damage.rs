//! Files that are torn, damaged, missing, or from a later version.

use super::{super::durable_end::DURABLE, *};
use crate::disk::testing::SimDisk;

const FIRST: &str = "segment-0000000001";

/// A log of three queues and a group, durable and closed.
fn small_log() -> (SimDisk, Vec<usize>) {
    let (disk, mut log, ends) = open_log();
    log.writer.finish();
    (disk, ends)
}

/// A log of three queues and a group, durable, and where each durable part ends.
fn open_log() -> (SimDisk, TestLog, Vec<usize>) {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let mut ends = Vec::new();
    let mut end = |log: &mut TestLog| {
        log.sync();
        ends.push(disk.content(FIRST).len());
    };
    log.publish(1, at(0), b"first");
    end(&mut log);
    log.publish(1, at(1), b"second");
    end(&mut log);
    let mut group = log.group();
    group.append(&message(b"in a group"), &[place(1, at(2))]);
    group.append(&message(b"in it too"), &[place(2, at(0)), place(3, at(0))]);
    group.settle(1, at(0));
    log.shared.commit(group);
    end(&mut log);
    log.settle(2, at(0), at(0));
    end(&mut log);
    (disk, log, ends)
}

fn all_bodies(log: &TestLog) -> Vec<Bytes> {
    (1..4).flat_map(|queue| log.bodies(queue)).collect()
}

#[test]
fn an_end_that_is_torn_anywhere_is_cut_off_to_the_last_whole_record() {
    let (disk, ends) = small_log();
    // As after a loss of power that comes before the note of what is durable has reached the disk.
    let disk = disk.with(DURABLE, None);
    let bytes = disk.content(FIRST);
    let expected: [&[&str]; 5] = [
        &[],
        &["first"],
        &["first", "second"],
        &["second", "in a group", "in it too", "in it too"],
        &["second", "in a group", "in it too"],
    ];
    for len in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= len).count();
        let torn = disk.with(FIRST, Some(bytes[..len].to_vec()));
        let log = TestLog::open(&torn);
        assert_eq!(all_bodies(&log), expected[whole], "{len} bytes");
        if let Some(dropped) = &log.recovered.dropped {
            assert_eq!(dropped.offset + dropped.bytes, len as u64, "{len} bytes");
        }
        drop(log);
        // The end is whole now, and the log continues there.
        let mut log = TestLog::open(&torn);
        assert_eq!(log.recovered.dropped, None, "{len} bytes");
        log.publish(4, at(0), b"later");
        log.sync();
        let log = TestLog::open(&torn.after_kill());
        assert_eq!(log.bodies(4), ["later"], "{len} bytes");
        assert_eq!(all_bodies(&log), expected[whole], "{len} bytes");
    }
}

#[test]
fn a_flipped_bit_is_refused_with_file_and_offset() {
    let (disk, ends) = small_log();
    let bytes = disk.content(FIRST);
    let sound = all_bodies(&TestLog::open(&disk.after_kill()));
    let mut refused = 0;
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            let damaged = disk.with(FIRST, Some(damaged));
            match TestLog::try_open(&damaged, SMALL) {
                Err(MessageLogError::Damaged { file, offset }) => {
                    refused += 1;
                    assert!(file.ends_with(FIRST));
                    assert!(offset <= at as u64, "byte {at}: {offset}");
                    let starts = ends.iter().filter(|end| **end <= at).max();
                    let frames_end = starts.copied().unwrap_or(0) as u64;
                    assert!(
                        offset == 0 || offset + 400 > frames_end,
                        "byte {at}: {offset}"
                    );
                }
                Err(MessageLogError::Newer { .. }) => panic!("byte {at}: the checksum is wrong"),
                Err(error) => panic!("byte {at}: {error}"),
                // What fills up a frame.
                Ok(log) => assert_eq!(all_bodies(&log), sound, "byte {at}"),
            }
        }
    }
    assert!(refused > bytes.len(), "{refused} of {}", bytes.len() * 2);
}

#[test]
fn damage_after_the_start_is_found_when_the_message_is_read() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(0), &[1; 300]);
    log.publish(1, at(1), &[2; 300]);
    log.sync();
    let file = disk.open(FIRST).unwrap();
    let bytes = disk.content(FIRST);
    let place = bytes.windows(4).position(|four| four == [2; 4]).unwrap();
    file.write_at(&[3], place as u64 + 9).unwrap();
    let Err(MessageLogError::Damaged { file, offset }) = log.try_read(1) else {
        panic!("the damage is found");
    };
    assert!(file.ends_with(FIRST));
    assert!(offset < place as u64 && offset + 200 > place as u64);
    let limits = ReadLimits::default();
    let sound = read::read(&log.shared, 1, at(0)..=at(0), limits).unwrap();
    assert_eq!(sound[0].body, vec![1; 300]);
}

#[test]
fn a_missing_segment_is_refused() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), &[0; 500]);
    }
    log.sync();
    log.writer.finish();
    let segments = disk.segments();
    assert!(segments.len() > 4);
    for segment in &segments {
        match TestLog::try_open(&disk.with(segment, None), SMALL) {
            Err(MessageLogError::Missing { file }) => assert!(file.ends_with(segment)),
            // The next one does not follow.
            Err(MessageLogError::Damaged { .. }) => (),
            other => panic!("without {segment}: {:?}", other.map(|log| log.recovered)),
        }
    }
}

#[test]
fn a_confirmed_end_that_is_lost_is_refused_after_a_kill_and_after_a_stop() {
    let (running, log, ends) = open_log();
    let killed = running.after_kill();
    drop(log);
    let (stopped, _) = small_log();
    let stopped = stopped.after_power_loss(&mut fastrand::Rng::with_seed(1));
    for disk in [killed, stopped] {
        let bytes = disk.content(FIRST);
        assert_eq!(ends.last(), Some(&bytes.len()));
        for len in 0..bytes.len() {
            let short = disk.with(FIRST, Some(bytes[..len].to_vec()));
            match TestLog::try_open(&short, SMALL) {
                Err(MessageLogError::Damaged { file, offset }) => {
                    assert!(file.ends_with(FIRST) && offset <= len as u64);
                }
                other => panic!("{len} bytes: {:?}", other.map(|log| log.recovered)),
            }
        }
        // The newest write, whose durability no later record states.
        let mut damaged = bytes.clone();
        damaged[ends[ends.len() - 2] + 20] ^= 1;
        let damaged = TestLog::try_open(&disk.with(FIRST, Some(damaged)), SMALL);
        assert!(matches!(damaged, Err(MessageLogError::Damaged { .. })));
        let without = TestLog::try_open(&disk.with(FIRST, None), SMALL);
        let Err(MessageLogError::Missing { file }) = without else {
            panic!("there is no file");
        };
        assert!(file.ends_with(FIRST));
    }
}

#[test]
fn what_follows_the_confirmed_end_may_be_torn() {
    let (disk, mut log, ends) = open_log();
    let confirmed = all_bodies(&log);
    let mut group = log.group();
    group.append(&message(b"unconfirmed"), &[place(1, at(7))]);
    group.append(&message(b"of a group"), &[place(1, at(8))]);
    log.shared.commit(group);
    log.turns();
    let bytes = disk.content(FIRST);
    for len in *ends.last().unwrap()..bytes.len() {
        let torn = disk.with(FIRST, Some(bytes[..len].to_vec()));
        assert_eq!(all_bodies(&TestLog::open(&torn)), confirmed, "{len} bytes");
    }
}

#[test]
fn a_note_that_is_lost_damaged_behind_or_of_another_log_harms_nothing() {
    let (disk, mut log, _) = open_log();
    let behind = disk.content(DURABLE);
    log.publish(1, at(9), b"last");
    log.sync();
    let bodies = all_bodies(&log);
    let newest = disk.content(DURABLE);
    assert_ne!(newest, behind);
    let (mut damaged, mut later) = (newest.clone(), newest.clone());
    damaged[24] ^= 0x40;
    later.push(0);
    let (other, mut far, _) = open_log();
    for n in 0..50 {
        far.publish(4, at(n), b"x");
    }
    far.sync();
    let other = other.content(DURABLE);
    let short = newest[..35].to_vec();
    let notes = [behind, damaged, later, other, short, Vec::new()];
    let disks = notes.map(|note| disk.with(DURABLE, Some(note)));
    for disk in disks.into_iter().chain([disk.with(DURABLE, None)]) {
        let log = TestLog::open(&disk);
        assert_eq!(all_bodies(&log), bodies);
        assert_eq!(log.recovered.dropped, None);
        // It is right again.
        drop(log);
        assert_eq!(disk.content(DURABLE)[12..36].len(), 24);
        let cut = disk.content(FIRST)[..40].to_vec();
        let cut = TestLog::try_open(&disk.with(FIRST, Some(cut)), SMALL);
        assert!(matches!(cut, Err(MessageLogError::Damaged { .. })));
    }
}

#[test]
fn the_note_of_what_is_durable_costs_no_fsync() {
    let (disk, mut log, _) = open_log();
    for n in 10..20 {
        let (syncs, note) = (disk.syncs(), disk.content(DURABLE));
        log.publish(1, at(n), b"confirmed");
        log.sync();
        assert_eq!(disk.syncs(), syncs + 1);
        assert_ne!(disk.content(DURABLE), note);
    }
}

#[test]
fn a_segment_that_ends_early_is_refused() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..50 {
        log.publish(1, at(n), &[0; 500]);
        log.sync();
    }
    for segment in &disk.segments()[..2] {
        let bytes = disk.content(segment);
        let file = TestLog::try_open(&disk.with(segment, Some(bytes[..3000].to_vec())), SMALL);
        let Err(MessageLogError::Damaged { .. }) = file else {
            panic!("{segment} is too short");
        };
    }
}

#[test]
fn a_later_format_is_refused() {
    let (disk, _) = small_log();
    let mut bytes = disk.content(FIRST);
    bytes[12] = 2;
    let sum = super::super::frame::checksum(&[&bytes[..28]]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    let newer = disk.with(FIRST, Some(bytes));
    let Err(MessageLogError::Newer { found, known, path }) = TestLog::try_open(&newer, SMALL)
    else {
        panic!("it is newer");
    };
    assert_eq!((found, known), (2, 1));
    assert!(path.ends_with(FIRST));
}

#[test]
fn a_body_is_never_taken_for_records() {
    // Another log, whose records say that much is durable.
    let (other, _) = small_log();
    let mut forged = other.content(FIRST);
    forged.drain(..32);
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(0), b"first");
    log.sync();
    let whole = disk.content(FIRST).len();
    log.publish(1, at(1), &forged);
    log.turns();
    let bytes = disk.content(FIRST);
    // Only the beginning of the record is torn.
    let mut torn = bytes.clone();
    torn[whole..whole + 40].fill(0);
    let log = TestLog::open(&disk.with(FIRST, Some(torn)));
    assert_eq!(log.bodies(1), ["first"]);
    let dropped = log.recovered.dropped.expect("it is reported");
    assert_eq!(dropped.offset, whole as u64);
    assert_eq!(dropped.bytes, (bytes.len() - whole) as u64);
}
