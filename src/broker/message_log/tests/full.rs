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
    // What is settled is written although the messages before it are not.
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
