//! Consumed messages free their space.

use super::*;
use crate::disk::testing::SimDisk;

/// A log of full segments: 100 messages of 500 bytes.
fn filled() -> (SimDisk, TestLog) {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..100 {
        log.publish(1, at(n), &[u8::try_from(n).unwrap(); 500]);
    }
    log.sync();
    (disk, log)
}

#[test]
fn an_empty_segment_is_removed_when_what_made_it_empty_is_durable() {
    let (disk, mut log) = filled();
    let before = disk.segments().len();
    assert!(before > 5);
    log.settle(1, 0, u64::MAX);
    log.turns();
    assert_eq!(disk.segments().len(), 1);
    let left = TestLog::open(&disk.after_power_loss(&mut fastrand::Rng::with_seed(1)));
    assert_eq!(left.bodies(1).len(), 0);
}

#[test]
fn one_old_message_does_not_keep_the_others() {
    let (disk, mut log) = filled();
    for n in (0..100).filter(|n| *n != 37) {
        log.settle(1, at(n), at(n));
        log.turns();
    }
    log.sync();
    assert!(disk.used() < 3 * SMALL.segment_bytes, "{}", disk.used());
    for log in [&log, &TestLog::open(&disk.after_kill())] {
        let [old] = &log.read(1)[..] else {
            panic!("one message is left");
        };
        assert_eq!((old.position, &old.body[..]), (at(37), &[37; 500][..]));
    }
}

#[test]
fn the_space_of_a_long_run_is_bounded_by_what_is_queued() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let mut random = fastrand::Rng::with_seed(7);
    let mut queued = std::collections::VecDeque::new();
    let mut most = 0;
    for n in 0..5000 {
        log.publish(1, at(n), &[1; 400]);
        queued.push_back(n);
        // Every hundredth stays for ever.
        if queued.len() > 20 {
            let index = random.usize(..queued.len());
            let settled = queued.remove(index).unwrap();
            if settled % 100 != 0 {
                log.settle(1, at(settled), at(settled));
            }
        }
        if n % 5 == 0 {
            log.sync();
            most = most.max(disk.used());
        }
    }
    log.sync();
    let stats = log.shared.stats();
    assert_eq!(stats.live_messages, 70);
    let live = 70 * 500;
    assert!(most < 4 * live + 4 * SMALL.segment_bytes, "{most}");
    assert!(stats.moved_bytes < stats.written_bytes / 2, "{stats:?}");
    let after = TestLog::open(&disk.after_kill());
    assert_eq!(after.read(1).len(), 70);
}

#[test]
fn a_message_that_is_requeued_for_ever_takes_no_more_space() {
    for moves in [false, true] {
        let disk = SimDisk::default();
        let mut log = TestLog::open(&disk);
        log.publish(1, at(0), b"poison");
        let mut position = at(0);
        for n in 0..4000 {
            let next = if moves { n } else { position };
            log.deliver(1, position);
            log.requeue(1, position, next, u32::try_from(n).unwrap() + 1);
            position = next;
            if n % 8 == 0 {
                log.sync();
            }
        }
        log.sync();
        assert!(disk.used() < 6 * SMALL.segment_bytes, "{}", disk.used());
        let after = TestLog::open(&disk.after_kill());
        let [poison] = &after.read(1)[..] else {
            panic!("it is there");
        };
        assert_eq!((poison.position, poison.returns), (position, 4000));
        assert!(poison.redelivered);
        assert_eq!(poison.body, "poison");
    }
}

#[test]
fn a_settlement_is_kept_as_long_as_the_segment_of_its_message() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    // The first segment stays: half of it is never settled.
    for n in 0..16 {
        log.publish(1, at(n), &[1; 400]);
    }
    log.sync();
    let mut next = 0;
    let mut fill = |log: &mut TestLog| {
        for _ in 0..40 {
            log.publish(2, at(next), &[2; 400]);
            log.settle(2, at(next), at(next));
            next += 1;
            log.sync();
        }
    };
    for n in 0..8 {
        log.settle(1, at(n), at(n));
        fill(&mut log);
        let left = TestLog::open(&disk.after_kill()).read(1).len() as u64;
        assert_eq!(left, 15 - n, "those that were settled have not come back");
    }
    assert!(disk.segments()[0].ends_with('1'), "{:?}", disk.segments());
    assert!(disk.used() < 6 * SMALL.segment_bytes, "{}", disk.used());
    // The segment is removed, and with it the facts about it.
    log.settle(1, 0, at(20));
    log.sync();
    fill(&mut log);
    assert!(!disk.segments()[0].ends_with("01"), "{:?}", disk.segments());
    assert_eq!(log.shared.stats().live_messages, 0);
    assert_eq!(TestLog::open(&disk.after_kill()).read(1).len(), 0);
    assert!(disk.used() < 4 * SMALL.segment_bytes, "{}", disk.used());
}

#[test]
fn a_removed_segment_that_comes_back_is_ignored() {
    let (disk, mut log) = filled();
    let first = disk.segments()[0].clone();
    let content = disk.content(&first);
    log.settle(1, 0, at(97));
    log.sync();
    assert!(!disk.segments().contains(&first));
    for n in 0..20 {
        log.publish(2, at(n), &[0; 500]);
    }
    log.sync();
    let back = disk.with(&first, Some(content));
    let log = TestLog::open(&back);
    assert_eq!(log.bodies(1).len(), 2);
    assert_eq!(log.bodies(2).len(), 20);
    assert!(!back.segments().contains(&first));
}

#[test]
fn a_damaged_segment_is_not_cleaned_and_the_log_works() {
    let (disk, mut log) = filled();
    let first = disk.segments()[0].clone();
    log.settle(1, at(1), at(40));
    // Its checksum, where the message begins that stays.
    let bytes = disk.content(&first);
    let place = bytes.windows(4).position(|four| four == [0; 4]).unwrap();
    let body = bytes
        .windows(500)
        .position(|body| body == [0; 500])
        .unwrap();
    assert!(place < body);
    disk.open(&first)
        .unwrap()
        .write_at(&[9], body as u64)
        .unwrap();
    log.sync();
    assert!(disk.segments().contains(&first));
    log.publish(1, at(100), b"later");
    log.sync();
    assert_eq!(log.state(), MessageLogState::Ready);
    let limits = ReadLimits::default();
    let later = read::read(&log.shared, 1, at(100)..=at(100), limits).unwrap();
    assert_eq!(later[0].body, "later");
}

#[test]
fn a_copy_is_the_log_of_one_moment_whatever_happens_meanwhile() {
    let (disk, mut log) = filled();
    log.settle(1, at(0), at(9));
    log.turns();
    let frozen = super::super::FrozenLog::new(&log.shared);
    let lens: Vec<_> = frozen.files().iter().map(|file| file.len).collect();
    log.settle(1, 0, u64::MAX);
    for n in 0..20 {
        log.publish(2, at(n), &[0; 500]);
    }
    log.sync();
    let mut copy = SimDisk::default();
    for (file, len) in frozen.files().iter().zip(lens) {
        let name = file.path.file_name().unwrap().to_str().unwrap();
        let len = usize::try_from(len).unwrap();
        copy = copy.with(name, Some(disk.content(name)[..len].to_vec()));
    }
    let copied = TestLog::open(&copy);
    assert_eq!(copied.recovered.dropped, None);
    assert_eq!((copied.read(1).len(), copied.read(2).len()), (90, 0));
    let before = disk.segments().len();
    drop(frozen);
    log.turns();
    assert!(disk.segments().len() + 5 < before);
    let left = TestLog::open(&disk.after_kill());
    assert_eq!((left.read(1).len(), left.read(2).len()), (0, 20));
}
