//! All damage is found, and the sound records are kept.

use super::{
    super::repair::{LogReport, check_on, repair_on},
    *,
};
use crate::disk::testing::SimDisk;

const FIRST: &str = "segment-0000000001";

fn check(disk: &SimDisk) -> LogReport {
    check_on(disk, Path::new("sim")).expect("it can be read")
}

fn repair(disk: &SimDisk) -> LogReport {
    repair_on(Box::new(disk.clone()), Path::new("sim")).expect("it can be repaired")
}

/// A log of several segments: a hundred messages, of which every tenth is settled.
fn filled() -> SimDisk {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), &[u8::try_from(n).unwrap(); 500]);
        if n % 10 == 9 {
            log.settle(1, at(n), at(n));
            log.sync();
        }
    }
    log.writer.finish();
    assert!(disk.segments().len() > 5);
    disk
}

fn positions(disk: &SimDisk) -> Vec<u64> {
    let mut log = TestLog::open(disk);
    let found = log.read(1).into_iter();
    let found = found
        .map(|one| {
            let n = one.position - at(0);
            assert_eq!(one.body, vec![u8::try_from(n).unwrap(); 500]);
            n
        })
        .collect();
    // It continues.
    log.publish(2, at(0), b"later");
    log.sync();
    assert_eq!(TestLog::open(&disk.after_kill()).bodies(2), ["later"]);
    found
}

fn flipped(disk: &SimDisk, name: &str, at: usize) -> SimDisk {
    let mut bytes = disk.content(name);
    bytes[at] ^= 4;
    disk.with(name, Some(bytes))
}

#[test]
fn a_sound_log_is_left_as_it_is() {
    let disk = filled();
    let calls = disk.calls();
    for report in [check(&disk), repair(&disk)] {
        assert!(report.is_sound());
        assert_eq!(report.messages, Some(90));
        assert_eq!(report.segments, disk.segments().len());
        assert_eq!(report.unfinished, None);
    }
    assert_eq!(disk.calls(), calls);
}

#[test]
fn an_unfinished_end_is_no_damage() {
    let disk = filled();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(100), b"unconfirmed");
    log.turns();
    let last = disk.segments().pop().unwrap();
    let bytes = disk.content(&last);
    let torn = disk.with(&last, Some(bytes[..bytes.len() - 3].to_vec()));
    let report = check(&torn);
    assert!(report.is_sound());
    let unfinished = report.unfinished.expect("it is reported");
    assert_eq!(unfinished.offset + unfinished.bytes, bytes.len() as u64 - 3);
}

#[test]
fn a_damaged_message_is_lost_and_nothing_else() {
    let disk = filled();
    let second = disk.segments()[1].clone();
    let damaged = flipped(&disk, &second, 3000);
    let report = check(&damaged);
    let [place] = &report.damaged[..] else {
        panic!("one place: {report:?}");
    };
    assert!(place.file.ends_with(&second));
    assert!((place.offset..place.offset + place.bytes).contains(&3000));
    assert!(place.bytes < 700, "one record");
    assert_eq!((report.messages, report.is_sound()), (None, false));
    let repaired = repair(&damaged);
    assert_eq!(repaired.damaged, report.damaged);
    assert_eq!(repaired.messages, Some(89));
    assert_eq!(positions(&damaged).len(), 89);
    let kept = damaged.content(&format!("{second}.damaged"));
    assert_eq!(kept.len(), disk.content(&second).len());
    assert!(check(&damaged).is_sound());
}

#[test]
fn whatever_byte_is_damaged_the_rest_is_kept() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..5 {
        log.publish(1, at(n), &[u8::try_from(n).unwrap(); 500]);
        log.sync();
    }
    let mut group = log.group();
    group.append(&message(&[5; 500]), &[place(1, at(5))]);
    group.append(&message(&[6; 500]), &[place(1, at(6))]);
    group.settle(1, at(0));
    log.shared.commit(group);
    log.sync();
    log.writer.finish();
    for byte in (0..disk.content(FIRST).len()).step_by(3) {
        let damaged = flipped(&disk, FIRST, byte);
        let was_sound = check(&damaged).is_sound();
        let report = repair(&damaged);
        assert_eq!(report.is_sound(), was_sound);
        let left = positions(&damaged);
        let expected = (0..7).filter(|n| !left.contains(n)).count();
        // The one that is settled may come back, one other may be damaged.
        assert!(expected <= 2, "byte {byte}: {left:?}, {report:?}");
        assert!(check(&damaged).is_sound(), "byte {byte}");
    }
}

#[test]
fn missing_and_shortened_segments_are_reported_and_the_rest_is_kept() {
    let disk = filled();
    for name in disk.segments() {
        let without = disk.with(&name, None);
        let report = check(&without);
        assert!(!report.is_sound(), "{name}");
        assert!(report.missing.iter().all(|path| path.ends_with(&name)));
        repair(&without);
        assert!(positions(&without).len() > 70, "{name}");
        let bytes = disk.content(&name);
        let short = disk.with(&name, Some(bytes[..bytes.len() / 2].to_vec()));
        assert!(!check(&short).is_sound(), "{name}");
        repair(&short);
        assert!(positions(&short).len() > 70, "{name}");
        let empty = disk.with(&name, Some(Vec::new()));
        assert!(!check(&empty).is_sound(), "{name}");
        repair(&empty);
        assert!(positions(&empty).len() > 70, "{name}");
    }
}

#[test]
fn a_later_format_is_not_repaired() {
    let disk = filled();
    let mut bytes = disk.content(FIRST);
    bytes[12] = 9;
    let sum = super::super::frame::checksum(&[&bytes[..28]]);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    let newer = disk.with(FIRST, Some(bytes));
    let repaired = repair_on(Box::new(newer), Path::new("sim"));
    assert!(matches!(
        repaired,
        Err(MessageLogError::Newer { found: 9, .. })
    ));
}

#[test]
fn a_lost_end_is_reported_and_the_rest_is_kept() {
    let disk = filled();
    let segments = disk.segments();
    let last = segments.last().unwrap();
    let bytes = disk.content(last);
    // Behind a whole record.
    let log = TestLog::open(&disk.after_kill());
    let place = log.read(1).pop().map(|one| one.position).unwrap();
    assert_eq!(place, at(98));
    let settlement = bytes.len() - 64;
    let cut = disk.with(last, Some(bytes[..settlement].to_vec()));
    let report = check(&cut);
    let [lost] = &report.damaged[..] else {
        panic!("one place: {report:?}");
    };
    assert!(lost.file.ends_with(last));
    assert_eq!((lost.offset, lost.bytes), (settlement as u64, 0));
    assert_eq!(repair(&cut).messages, Some(91), "one comes back");
    assert!(check(&cut).is_sound());
    assert_eq!(positions(&cut).len(), 91);
    let mut none = disk.after_kill();
    for name in &segments {
        none = none.with(name, None);
    }
    let report = check(&none);
    assert!(report.missing[0].ends_with(last), "{report:?}");
    assert_eq!(repair(&none).messages, Some(0));
    assert!(positions(&none).is_empty());
}
