//! Receivers that fail: what they cost the others, and what takes the place of what they missed.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{
    PATIENCE, draft, expect_revisions, next, quick,
    receiver::{Manner, Receiver},
    stage, stage_with, taken, wait_for_metric,
};
use crate::transport::{Config, Start};

#[tokio::test]
async fn nineteen_receivers_are_not_slowed_by_one_that_hangs_and_one_that_is_dead() {
    let stage = stage_with(
        10_000,
        Config {
            webhook_timeout: Duration::from_secs(10).into(),
            ..quick()
        },
    );
    let mut receivers = Vec::new();
    for _ in 0..20 {
        let receiver = Receiver::start().await;
        stage.watch(&receiver).await;
        receivers.push(receiver);
    }
    let mut dead = Receiver::start().await;
    stage.watch(&dead).await;
    dead.die().await;
    receivers[7].behave(Manner::Hang);
    let started = Instant::now();
    stage.register("a", 0..50);
    for (i, receiver) in receivers.iter_mut().enumerate() {
        if i != 7 {
            expect_revisions(receiver, 1..=50).await;
        }
    }
    // Far below one timeout of the one that hangs.
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(next(&mut receivers[7].requests).await.json()["revision"], 1);
    assert!(receivers[7].requests.try_recv().is_err());
}

#[tokio::test]
async fn receivers_that_let_every_request_time_out_leave_room_for_the_others() {
    let config = Config {
        deliveries_max: 2.into(),
        retries_max: 1.into(),
        circuit_after: 1_000.into(),
        ..quick()
    };
    let stage = stage_with(10_000, config);
    let mut hanging = Vec::new();
    for _ in 0..6 {
        let receiver = Receiver::start().await;
        receiver.behave(Manner::Hang);
        hanging.push((stage.watch(&receiver).await, receiver));
    }
    stage.register("a", 0..1);
    for (id, _) in &hanging {
        stage.until(id, |info| info.record.failed >= 1).await;
    }
    let mut good = Receiver::start().await;
    stage.watch(&good).await;
    let started = Instant::now();
    stage.register("a", 1..21);
    expect_revisions(&mut good, 2..=21).await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn receivers_that_are_slow_and_never_fail_leave_room_for_the_others() {
    let config = Config {
        deliveries_max: 4.into(),
        webhook_timeout: Duration::from_secs(10).into(),
        ..quick()
    };
    let stage = stage_with(10_000, config);
    let mut good = Receiver::start().await;
    stage.watch(&good).await;
    stage.register("a", 0..1);
    expect_revisions(&mut good, 1..=1).await;
    // New ones that hang: three of the four places may be theirs.
    let mut hanging = Vec::new();
    for _ in 0..8 {
        let receiver = Receiver::start().await;
        receiver.behave(Manner::Hang);
        stage.watch(&receiver).await;
        hanging.push(receiver);
    }
    let started = Instant::now();
    stage.register("a", 1..21);
    expect_revisions(&mut good, 2..=21).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_receiver_behind_the_log_gets_one_resync_then_events() {
    let stage = stage_with(20, quick());
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    receiver.die().await;
    stage.register("a", 0..30);
    stage.register("b", 0..30);
    stage.until(&id, |info| info.record.failed >= 1).await;
    receiver.come_back().await;
    let request = taken(&mut receiver).await;
    assert_eq!(request.header("x-musterd-event"), "resync");
    assert_eq!(
        request.header("x-musterd-delivery"),
        format!("{}-60-resync", stage.registry.epoch())
    );
    let body = request.json();
    assert_eq!(body["event"], "resync");
    assert!(body["revision"].is_null());
    assert_eq!(body["snapshot"]["revision"], 60);
    assert_eq!(
        body["snapshot"]["services"]["a"].as_array().unwrap().len(),
        30
    );
    stage.register("a", 30..32);
    expect_revisions(&mut receiver, 61..=62).await;
    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!((info.record.resyncs, info.record.delivered), (1, 2));
}

#[tokio::test]
async fn a_snapshot_to_a_hanging_receiver_delays_no_other() {
    let config = Config {
        snapshots_max: 1.into(),
        webhook_timeout: Duration::from_secs(6).into(),
        circuit_after: 1_000.into(),
        ..quick()
    };
    let stage = stage_with(10_000, config);
    let follow = async |receiver: &Receiver| {
        let added = stage.webhooks.add(draft(&receiver.url()), Start::Snapshot);
        added.await.unwrap()
    };
    let mut hanging = Receiver::start().await;
    hanging.behave(Manner::Answer(500));
    let id = follow(&hanging).await.id;
    stage.until(&id, |info| info.record.failed >= 1).await;
    hanging.behave(Manner::Hang);
    while !matches!(next(&mut hanging.requests).await.manner, Manner::Hang) {}
    let mut good = Receiver::start().await;
    let started = Instant::now();
    follow(&good).await;
    assert_eq!(taken(&mut good).await.json()["event"], "resync");
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn an_event_that_is_refused_is_replaced_by_the_state_and_the_next_follow() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    stage.register("a", 0..1);
    expect_revisions(&mut receiver, 1..=1).await;
    receiver.behave(Manner::Answer(422));
    stage.register("a", 1..2);
    for _ in 0..3 {
        assert_eq!(next(&mut receiver.requests).await.json()["revision"], 2);
    }
    stage.until(&id, |info| info.record.given_up == 1).await;
    receiver.behave(Manner::Answer(200));
    let body = taken(&mut receiver).await.json();
    assert_eq!(body["event"], "resync");
    assert_eq!(
        body["snapshot"]["services"]["a"].as_array().unwrap().len(),
        2
    );
    stage.register("a", 2..5);
    expect_revisions(&mut receiver, 3..=5).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_removed() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(410));
    stage.register("a", 0..3);
    next(&mut receiver.requests).await;
    let gone = async {
        while stage.webhooks.find(&id).is_some() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("removed in time");
    wait_for_metric(&stage, "musterd_webhooks 0").await;
    assert!(receiver.requests.try_recv().is_err());
}
