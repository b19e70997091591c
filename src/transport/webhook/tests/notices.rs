//! Webhooks get notices besides changes.

use super::{
    Stage, draft, next,
    receiver::{Manner, Receiver},
    stage, taken,
};
use crate::{
    model::{EventKind, ServiceName},
    transport::Start,
};

/// Adds a notice as the migration does.
fn publish(stage: &Stage, event: &'static str) {
    let json = format!("{{\"event\":\"{event}\",\"revision\":null}}");
    stage.notices.push(event, json.into());
}

#[tokio::test]
async fn webhooks_of_everything_get_later_notices() {
    let stage = stage();
    publish(&stage, "migration.started");
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    publish(&stage, "migration.phase");
    publish(&stage, "migration.completed");
    let first = taken(&mut receiver).await;
    assert_eq!(first.header("x-musterd-event"), "migration.phase");
    assert_eq!(first.header("x-musterd-watcher"), id);
    let delivery = format!("{}-notice-2", stage.registry.epoch());
    assert_eq!(first.header("x-musterd-delivery"), delivery);
    assert_eq!(first.json()["event"], "migration.phase");
    assert_eq!(
        taken(&mut receiver).await.json()["event"],
        "migration.completed"
    );
}

#[tokio::test]
async fn webhooks_of_one_service_or_of_some_kinds_are_not() {
    let stage = stage();
    let (mut one, mut some) = (Receiver::start().await, Receiver::start().await);
    let mut of_one = draft(&one.url());
    of_one.service_name = Some(ServiceName::parse("a").unwrap());
    stage.webhooks.add(of_one, Start::Newest).await.unwrap();
    let mut of_some = draft(&some.url());
    of_some.events = Box::new([EventKind::Registered]);
    stage.webhooks.add(of_some, Start::Newest).await.unwrap();
    let mut all = Receiver::start().await;
    stage.watch(&all).await;
    publish(&stage, "migration.phase");
    assert_eq!(taken(&mut all).await.json()["event"], "migration.phase");
    stage.register("a", 0..1);
    for receiver in [&mut one, &mut some] {
        assert_eq!(taken(receiver).await.json()["event"], "registered");
    }
}

#[tokio::test]
async fn a_notice_is_tried_until_it_is_taken_and_events_do_not_wait_for_it() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(503));
    publish(&stage, "migration.rollback");
    for _ in 0..3 {
        let refused = next(&mut receiver.requests).await;
        assert_eq!(refused.header("x-musterd-event"), "migration.rollback");
    }
    receiver.behave(Manner::Answer(204));
    stage.register("a", 0..1);
    let mut received = [taken(&mut receiver).await, taken(&mut receiver).await]
        .map(|request| request.header("x-musterd-event").to_owned());
    received.sort_unstable();
    assert_eq!(received, ["migration.rollback", "registered"]);
}

#[tokio::test]
async fn a_notice_is_dropped_after_refusals_max_refusals() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(400));
    publish(&stage, "migration.phase");
    for _ in 0..3 {
        next(&mut receiver.requests).await;
    }
    receiver.behave(Manner::Answer(204));
    publish(&stage, "migration.completed");
    assert_eq!(
        taken(&mut receiver).await.json()["event"],
        "migration.completed"
    );
}

#[tokio::test]
async fn a_410_to_a_notice_removes_the_webhook() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(410));
    publish(&stage, "migration.phase");
    next(&mut receiver.requests).await;
    while !stage.webhooks.list().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn notices_before_the_end_are_still_sent() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    publish(&stage, "migration.rollback");
    let stopped = stage.stop();
    assert_eq!(
        taken(&mut receiver).await.json()["event"],
        "migration.rollback"
    );
    stopped.await.unwrap();
}
