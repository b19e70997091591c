//! When appends become durable, and how much one read gives.

use super::*;
use crate::disk::testing::SimDisk;

#[test]
fn appends_share_an_fsync_and_are_reported_when_it_is_done() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let reported: Arc<parking_lot::Mutex<Vec<u64>>> = Arc::default();
    let to = Arc::clone(&reported);
    let call = Box::new(move |position| to.lock().push(position));
    let call = super::super::shared::DurableCall(call);
    log.shared.on_durable.store(Some(Arc::new(call)));
    for n in 0..1000 {
        log.publish(n % 7, at(n), b"one of many");
    }
    log.turns();
    assert_eq!(*reported.lock(), [0; 0], "nobody waits");
    let syncs = disk.syncs();
    log.shared.request_durable(1);
    log.turns();
    assert_eq!(*reported.lock(), [1000]);
    let last = log.publish(1, at(1000), b"the last one");
    log.shared.request_durable(last);
    log.turns();
    assert_eq!(*reported.lock(), [1000, 1001]);
    // Each full segment, the last one and the folder, once.
    let segments = log.shared.stats().segments;
    assert!(disk.syncs() - syncs <= segments as u64 + 4);
    assert_eq!(log.shared.counts.syncs.load(Relaxed), 2);
}

#[test]
fn without_a_request_it_is_durable_after_the_interval() {
    let disk = SimDisk::default();
    let options = MessageLogOptions {
        sync_interval: Duration::ZERO,
        ..SMALL
    };
    let mut log = TestLog::try_open(&disk, options).unwrap();
    let position = log.publish(1, at(0), b"one");
    log.turns();
    assert_eq!(log.durable(), position);
}

#[test]
fn reads_keep_to_their_limits() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    for n in 0..50 {
        log.publish(1, at(n), &[1; 100]);
        log.publish(2, at(n), &[2; 1000]);
    }
    log.sync();
    let read = |positions, messages, bytes| {
        let limits = ReadLimits { messages, bytes };
        let found = read::read(&log.shared, 1, positions, limits).unwrap();
        found
            .into_iter()
            .map(|one| one.position)
            .collect::<Vec<_>>()
    };
    let positions = |range: std::ops::Range<u64>| range.map(at).collect::<Vec<_>>();
    assert_eq!(read(0..=u64::MAX, 3, u64::MAX), positions(0..3));
    assert_eq!(read(at(48)..=u64::MAX, 9, u64::MAX), positions(48..50));
    assert_eq!(read(at(7)..=at(9), 9, u64::MAX), positions(7..10));
    assert_eq!(read(at(0)..=u64::MAX, 9, 250), positions(0..2));
    assert_eq!(
        read(at(0)..=u64::MAX, 9, 1),
        positions(0..1),
        "one at least"
    );
    assert_eq!(read(at(9)..=at(7), 9, u64::MAX), positions(0..0));
    assert_eq!(read(at(50)..=u64::MAX, 9, u64::MAX), positions(0..0));
}

#[test]
fn a_message_with_long_properties_is_read() {
    let disk = SimDisk::default();
    let mut log = TestLog::open(&disk);
    let mut long = inbound(&[5; 200 << 10]);
    let mut headers = TableBuilder::new();
    headers.put_str("long", "x".repeat(100_000));
    long.properties = long.properties.with_headers(&headers.build());
    let long = keep(long);
    log.append(&long, &[place(1, at(0))]);
    log.publish(1, at(1), b"short");
    log.sync();
    for log in [&log, &TestLog::open(&disk.after_kill())] {
        let found = log.read(1);
        assert_eq!(found[0].head.properties, long.properties);
        assert_eq!(found[0].body, long.body);
        assert_eq!(found[1].body, "short");
    }
}
