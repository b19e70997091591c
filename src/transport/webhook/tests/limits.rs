//! How many webhooks there may be, and their memory.

use std::collections::HashSet;

use super::{
    super::FIXED_BYTES, draft, quick, receiver::Receiver, stage, stage_with, wait_for_metric,
};
use crate::transport::{Config, Start};

#[tokio::test]
async fn the_number_of_webhooks_is_limited_and_permits_are_returned() {
    let config = Config {
        webhooks_max: 2.into(),
        ..quick()
    };
    let stage = stage_with(10, config);
    let receiver = Receiver::start().await;
    let first = stage.watch(&receiver).await;
    stage.watch(&receiver).await;
    let third = stage
        .webhooks
        .add(draft(&receiver.url()), Start::Newest)
        .await;
    assert_eq!(
        third.unwrap_err().to_string(),
        "there are 2 webhooks already: remove one, or raise transport.webhooks_max"
    );
    stage.webhooks.remove(&first).await.unwrap();
    wait_for_metric(&stage, "musterd_webhooks 1").await;
    stage.watch(&receiver).await;
    let ids: HashSet<_> = stage
        .webhooks
        .list()
        .into_iter()
        .map(|info| info.id)
        .collect();
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn a_webhook_counts_as_memory_of_the_registry() {
    let stage = stage();
    let used = || stage.registry.counts().memory;
    let id = stage
        .webhooks
        .add(draft("http://127.0.0.1/"), Start::Newest)
        .await;
    assert!(used() >= FIXED_BYTES, "{}", used());
    stage.webhooks.remove(&id.unwrap().id).await.unwrap();
    wait_for_metric(&stage, "musterd_webhooks 0").await;
    assert_eq!(used(), 0);
}
