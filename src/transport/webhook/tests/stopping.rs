//! What is delivered while the daemon stops.

use tokio::time::Instant;

use super::{
    draft, expect_revisions, next, quick,
    receiver::{Manner, Receiver},
    stage,
};
use crate::transport::{Start, TransportError};

#[tokio::test]
async fn at_a_stop_remaining_events_are_delivered() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(503));
    stage.register("a", 0..200);
    next(&mut receiver.requests).await;
    let running = stage.stop();
    receiver.behave(Manner::Answer(200));
    running.await.unwrap();
    let mut seen = Vec::new();
    while let Ok(request) = receiver.requests.try_recv() {
        if matches!(request.manner, Manner::Answer(200)) {
            seen.push(request.json()["revision"].as_u64().unwrap());
        }
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
    let late = stage
        .webhooks
        .add(draft(&receiver.url()), Start::Newest)
        .await;
    assert!(matches!(late, Err(TransportError::Stopping)));
}

#[tokio::test]
async fn at_a_stop_a_hanging_receiver_costs_at_most_the_drain_time() {
    let stage = stage();
    let mut dead = Receiver::start().await;
    stage.watch(&dead).await;
    dead.die().await;
    let hanging = Receiver::start().await;
    hanging.behave(Manner::Hang);
    stage.watch(&hanging).await;
    let mut good = Receiver::start().await;
    stage.watch(&good).await;
    stage.register("a", 0..20);
    let started = Instant::now();
    stage.stop().await.unwrap();
    assert!(
        started.elapsed() < *quick().drain,
        "{:?}",
        started.elapsed()
    );
    expect_revisions(&mut good, 1..=20).await;
}
