use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;

use super::*;
use crate::broker::{
    message::InboundMessage,
    wire::{Properties, ShortStr},
};

#[test]
fn the_alarm_is_on_between_the_marks() {
    let memory = Memory::new(1000);
    let mut charge = memory.charge(1000);
    assert!(!memory.is_alarm(), "exactly the mark is allowed");
    charge.set(1001);
    assert!(memory.is_alarm());
    charge.set(900);
    assert!(memory.is_alarm(), "nine tenths are not free yet");
    charge.set(899);
    assert!(!memory.is_alarm());
    let more = memory.charge(200);
    assert_eq!((memory.is_alarm(), memory.alarms()), (true, 2));
    drop((charge, more));
    assert_eq!((memory.is_alarm(), memory.used()), (false, 0));
}

#[test]
fn a_full_disk_blocks_as_well_and_each_alarm_ends_for_itself() {
    let memory = Memory::new(1000);
    memory.set_disk_full(true);
    assert_eq!(
        (memory.is_alarm(), memory.state().reason()),
        (true, "low on disk")
    );
    let charge = memory.charge(1001);
    assert_eq!(memory.state().reason(), "low on memory & disk");
    memory.set_disk_full(false);
    assert_eq!(
        (memory.is_alarm(), memory.state().reason()),
        (true, "low on memory")
    );
    memory.set_disk_full(true);
    drop(charge);
    assert_eq!(
        (memory.is_alarm(), memory.state().reason()),
        (true, "low on disk")
    );
    memory.set_disk_full(false);
    assert!(!memory.is_alarm());
    assert_eq!(
        memory.alarms(),
        1,
        "only the alarm of the memory is counted"
    );
}

#[test]
fn a_following_charge_is_exact_at_zero_and_otherwise_within_a_step() {
    let memory = Memory::new(usize::MAX);
    let mut charge = memory.charge(0);
    for bytes in (0..5000).chain((0..5000).rev()) {
        charge.follow(bytes);
        assert!(memory.used().abs_diff(bytes) < STEP, "at {bytes}");
    }
    assert_eq!(memory.used(), 0);
}

#[test]
fn topology_may_take_half_of_the_watermark() {
    let memory = Memory::new(100 * 1024 * 1024);
    let messages = memory.charge(80 * 1024 * 1024);
    let mut topology = memory.charge_topology(50 * 1024 * 1024);
    assert!(!memory.is_topology_full());
    topology.set(50 * 1024 * 1024 + 1);
    assert!(memory.is_topology_full());
    assert!(memory.is_alarm(), "both count for the alarm");
    drop(topology);
    assert_eq!((memory.topology(), memory.is_topology_full()), (0, false));
    assert_eq!(memory.used(), messages.bytes());
    assert_eq!(Memory::new(1000).topology_max(), TOPOLOGY_MIN);
}

#[test]
fn messages_in_progress_may_use_twice_the_watermark() {
    const MIB: usize = 1024 * 1024;
    for (high, ceiling) in [(100 * MIB, 200 * MIB), (MIB, 65 * MIB)] {
        let memory = Memory::new(high);
        let mut charge = memory.charge(ceiling);
        assert!(memory.is_alarm() && !memory.is_exhausted());
        charge.set(ceiling + 1);
        assert!(memory.is_exhausted());
    }
}

#[test]
fn a_body_counts_as_long_as_a_part_of_it_is_alive() {
    let memory = Memory::new(usize::MAX);
    let body = memory.charged_body(vec![1; 20_000]);
    let part = body.slice(5..10);
    drop(body);
    assert!((20_000..21_000).contains(&memory.used()));
    drop(part);
    assert_eq!(memory.used(), 0);
}

#[test]
fn an_account_is_over_its_own_limit_only() {
    let memory = Memory::new(usize::MAX);
    let (one, other) = (
        Account::new(Arc::clone(&memory), 100),
        Account::new(Arc::clone(&memory), 100),
    );
    let (mut first, mut second) = (one.charge(), one.charge());
    first.set(60);
    second.set(60);
    assert!(one.is_over() && !other.is_over());
    second.set(40);
    assert!(!one.is_over());
    drop((first, second));
    assert_eq!(memory.used(), 0);
}

#[test]
fn the_memory_alarm_is_consistent_after_concurrent_changes() {
    for _ in 0..200 {
        let memory = Memory::new(1000);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        drop(memory.charge(600));
                    }
                });
            }
        });
        assert_eq!((memory.used(), memory.is_alarm()), (0, false));
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_woken_when_the_alarm_ends() {
    let memory = Memory::new(1000);
    memory.alarm_ended().await;
    let charge = memory.charge(2000);
    let reporter = Arc::clone(&memory);
    let reported = async move {
        let begun = reporter.alarm_changed(Alarms::default()).await;
        (begun.memory(), reporter.alarm_changed(begun).await.memory())
    };
    let free = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(memory.is_alarm());
        drop(charge);
    };
    let (reported, (), ()) = tokio::join!(reported, memory.alarm_ended(), free);
    assert_eq!(reported, (true, false));
}

#[test]
fn a_message_that_a_transaction_holds_keeps_no_read_buffer_alive() {
    let memory = Memory::new(usize::MAX);
    let buffer = Bytes::from(vec![b'x'; 1000]);
    let long = || ShortStr::try_from(buffer.slice(..200)).unwrap();
    let properties = Properties::decode(Bytes::from_static(&[0, 0])).unwrap();
    let mut message = InboundMessage::new(long(), long(), properties, buffer.slice(..500));
    message.detach(&memory);
    assert!(buffer.is_unique());
}
