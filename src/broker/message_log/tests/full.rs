//! A full disk, and one that fails.

use super::*;
use crate::disk::testing::{Fault, SimDisk};

#[test]
fn a_full_disk_keeps_what_waits_and_continues_when_messages_are_consumed() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(0), &[0; 200]);
    log.sync();
    disk.limit(64 << 10);
    let mut n = 1;
    while log.state() == MessageLogState::Ready {
        log.publish(1, at(n), &[0; 200]);
        log.shared.request_durable(u64::MAX);
        log.writer.turn();
        n += 1;
        assert!(n < 1000, "it gets full");
    }
    assert_eq!(log.state(), MessageLogState::Full);
    let stored = log.durable();
    assert!(stored >= 200 && stored < n, "{stored} of {n}");
    for _ in 0..20 {
        log.publish(1, at(n), &[0; 200]);
        n += 1;
    }
    assert!(log.shared.pending_bytes.load(Relaxed) > 20 * 200);
    for _ in 0..5 {
        log.writer.turn();
    }
    assert_eq!(log.durable(), stored, "nothing is half written");
    let after = TestLog::open(&disk.after_kill());
    assert_eq!(after.bodies(1).len() as u64, stored);
    // Settlements are written although the messages before them are not.
    let used = disk.used();
    for settled in 0..100 {
        log.settle(1, at(settled), at(settled));
        log.writer.turn();
    }
    for _ in 0..5 {
        log.writer.turn();
    }
    assert!(disk.used() < used, "{} of {used}", disk.used());
    assert_eq!(log.state(), MessageLogState::Ready);
    log.sync();
    assert_eq!(log.durable(), log.shared.pending.lock().last);
    assert_eq!(log.shared.pending_bytes.load(Relaxed), 0);
    let after = TestLog::open(&disk.after_kill());
    let left: Vec<u64> = after.read(1).iter().map(|one| one.position).collect();
    assert_eq!(left, (100..n).map(at).collect::<Vec<_>>());
}

#[test]
fn a_group_waits_for_space_as_a_whole() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(0), b"settled by the group");
    log.sync();
    disk.limit(disk.used() + 500);
    let mut group = log.group();
    for n in 0..4 {
        group.append(&message(&[0; 300]), &[place(2, at(n))]);
    }
    group.settle(1, at(0));
    log.shared.commit(group);
    log.publish(3, at(0), &[0; 300]);
    log.shared.request_durable(u64::MAX);
    for _ in 0..5 {
        log.writer.turn();
    }
    assert_eq!(log.state(), MessageLogState::Full);
    let after = TestLog::open(&disk.after_kill());
    assert_eq!(after.bodies(1), ["settled by the group"]);
    assert_eq!(after.bodies(2).len(), 0);
    disk.limit(u64::MAX);
    log.sync();
    assert_eq!(log.state(), MessageLogState::Ready);
    let after = TestLog::open(&disk.after_kill());
    assert_eq!(after.bodies(1).len(), 0);
    assert_eq!(after.bodies(2).len(), 4);
    assert_eq!(after.bodies(3).len(), 1);
}

#[test]
fn settlements_in_a_long_backlog_are_searched_once() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), b"x");
    }
    log.sync();
    disk.limit(disk.used() + 10_000);
    for n in 100..1000 {
        log.publish(1, at(n), &[0; 300]);
    }
    for n in 0..100 {
        log.settle(1, at(n), at(n));
        log.requeue(1, at(n + 500), n, 1);
    }
    for _ in 0..10 {
        log.writer.turn();
    }
    assert_eq!(log.state(), MessageLogState::Full);
    let after = TestLog::open(&disk.after_kill());
    assert!(after.read(1).iter().all(|one| one.position >= at(100)));
    disk.limit(u64::MAX);
    log.sync();
    let after = TestLog::open(&disk.after_kill());
    let requeued = after.read(1).iter().filter(|one| one.returns == 1).count();
    assert_eq!((after.read(1).len(), requeued), (900, 100));
}

#[test]
fn a_failed_fsync_is_never_retried() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let stored = log.publish(1, at(0), b"durable");
    log.sync();
    log.publish(1, at(1), b"unknown");
    log.turns();
    disk.set(Fault::Io(disk.calls()));
    log.shared.request_durable(u64::MAX);
    log.turns();
    let MessageLogState::Failed(why) = log.state() else {
        panic!("the log has not failed");
    };
    assert_eq!(&*why, "fsync failed: a bad sector");
    let calls = disk.calls();
    log.publish(1, at(2), b"lost");
    log.sync();
    log.writer.finish();
    assert_eq!(log.durable(), stored);
    assert_eq!(disk.calls(), calls, "nothing is written after the failure");
    assert_eq!(log.shared.pending_bytes.load(Relaxed), 0);
    assert_eq!(log.bodies(1), ["durable", "unknown"], "reading still works");
}

#[test]
fn a_disk_that_is_full_at_the_start_is_no_failure() {
    let disk = SimDisk::default();
    disk.limit(0);
    let mut log = TestLog::open(&disk);
    let position = log.publish(1, at(0), b"waits");
    log.shared.request_durable(position);
    log.writer.turn();
    assert_eq!((log.state(), log.durable()), (MessageLogState::Full, 0));
    disk.limit(u64::MAX);
    log.writer.turn();
    assert_eq!(log.state(), MessageLogState::Ready);
    assert_eq!(log.durable(), position);
}

/// What a start with a full disk finds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    Stopped,
    Killed,
    /// Killed while the disk was full, so that the reserve was given away.
    KilledFull,
}

/// A log of a hundred messages on a disk without space.
fn full_disk(before: Before) -> SimDisk {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), &[0; 200]);
    }
    log.sync();
    match before {
        Before::Stopped => log.writer.finish(),
        Before::Killed => (),
        Before::KilledFull => {
            disk.limit(disk.used());
            log.publish(1, at(100), &[0; 900]);
            log.settle(1, at(0), at(0));
            log.shared.request_durable(u64::MAX);
            log.turns_at_most(5);
            assert_eq!(log.state(), MessageLogState::Full);
        }
    }
    let left = disk.after_kill();
    let has_reserve = left.names().unwrap().iter().any(|name| name == "RESERVE");
    assert_eq!(has_reserve, before != Before::KilledFull);
    // Of what the reserve had, something is free.
    let free = if has_reserve { 0 } else { 3000 };
    left.limit(left.used() + free);
    left
}

#[test]
fn a_start_with_a_full_disk_serves_consumers_and_takes_messages_when_there_is_space() {
    for before in [Before::Stopped, Before::Killed, Before::KilledFull] {
        let disk = full_disk(before);
        let mut log = TestLog::open(&disk);
        log.turns_at_most(5);
        let is_known = log.state() == MessageLogState::Full;
        assert_eq!(
            is_known,
            before == Before::KilledFull,
            "{before:?}: before a message"
        );
        log.publish(2, at(0), &[0; 300]);
        log.shared.request_durable(u64::MAX);
        log.turns_at_most(5);
        assert_eq!(log.state(), MessageLogState::Full, "{before:?}");
        let first = log.read(1)[0].position;
        for position in first..first + 60 {
            log.settle(1, position, position);
            log.writer.turn();
        }
        let left: Vec<u64> = TestLog::open(&disk.after_kill())
            .read(1)
            .iter()
            .map(|one| one.position)
            .collect();
        assert_eq!(
            left,
            (first + 60..at(100)).collect::<Vec<_>>(),
            "{before:?}"
        );
        disk.limit(u64::MAX);
        log.sync();
        assert_eq!(log.state(), MessageLogState::Ready, "{before:?}");
        assert_eq!(log.durable(), log.shared.pending.lock().last, "{before:?}");
        let log = TestLog::open(&disk.after_kill());
        assert_eq!(log.bodies(2).len(), 1, "{before:?}");
    }
}

#[test]
fn a_start_writes_nothing_that_needs_space() {
    for before in [Before::Stopped, Before::Killed, Before::KilledFull] {
        let disk = full_disk(before);
        disk.set(Fault::Full(0));
        let mut log = TestLog::open(&disk);
        log.turns_at_most(5);
        assert_eq!(
            log.read(1).len(),
            if before == Before::KilledFull {
                99
            } else {
                100
            }
        );
        assert!(!matches!(log.state(), MessageLogState::Failed(_)));
        disk.set(Fault::None);
        disk.limit(u64::MAX);
        let position = log.publish(2, at(0), b"later");
        log.sync();
        assert_eq!(log.durable(), position);
        assert_eq!(log.state(), MessageLogState::Ready);
    }
}

#[test]
fn a_start_takes_over_the_reserve() {
    let disk = full_disk(Before::Stopped);
    disk.limit(u64::MAX);
    let file = disk.open("RESERVE").unwrap();
    let mut log = TestLog::open(&disk);
    log.publish(1, at(200), b"x");
    log.sync();
    file.write_at(&[7], 0).unwrap();
    assert_eq!(disk.content("RESERVE")[0], 7, "it is the same file");
    // One of another size, as by another version, or half written, is replaced.
    for len in [0, 100, 10_000] {
        let other = disk.with("RESERVE", Some(vec![0; len]));
        let mut log = TestLog::open(&other);
        log.turns_at_most(2);
        assert_eq!(other.content("RESERVE").len(), 4 << 10);
        drop(log);
    }
}
