//! Events out: each once and in order, under the names of the contract.

use std::{collections::BTreeSet, time::Duration};

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use super::stage::{Stage, is_rabbit};

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_a_persistent_message_under_its_name() {
    let stage = Stage::start(&[("transport.mode", "dual")]).await;
    stage.until_sent().await;
    let mut all = stage
        .listen(&["service.events.#", "gateway.routes.#"])
        .await;
    let mut health = stage.listen(&["health.status.#"]).await;
    stage.register("a.b", 0..1).await;
    let put = stage
        .client
        .put(format!("{}/services/a.b-0/override", stage.http));
    let put = put.body(json!({"status": "stopping", "reason": "test"}).to_string());
    assert_eq!(put.send().await.unwrap().status(), 200);
    let route = stage.client.put(format!("{}/gateway/routes/r", stage.http));
    let route = route.body(json!({"path_prefix": "/r", "service_name": "a.b"}).to_string());
    assert_eq!(route.send().await.unwrap().status(), 200);

    let first = all.next().await;
    assert_eq!(first.exchange.as_str(), "musterd");
    assert_eq!(first.routing_key.as_str(), "service.events.registered.a.b");
    let event: Value = serde_json::from_slice(&first.data).unwrap();
    let cursor = format!("{}-1", stage.registry.epoch());
    let properties = &first.properties;
    let text = |value: &Option<lapin::types::ShortString>| {
        value.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(text(properties.content_type()), "application/json");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(text(properties.message_id()), cursor);
    assert_eq!(text(properties.kind()), "registered");
    assert!(properties.timestamp().is_some());
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["revision"], AMQPValue::LongLongInt(1));
    assert_eq!(headers["service_name"], AMQPValue::LongString("a.b".into()));
    assert_eq!(headers["service_id"], AMQPValue::LongString("a.b-0".into()));
    assert_eq!(event["instance"]["port"], 8080);

    let (key, event) = all.event().await;
    assert_eq!(key, "service.events.stopping.a.b");
    assert_eq!(event["previous_status"], "healthy");
    let (key, event) = all.event().await;
    assert_eq!(key, "gateway.routes.route_set.r");
    assert_eq!(event["route"]["path_prefix"], "/r");

    let changed = health.next().await;
    assert_eq!(changed.routing_key.as_str(), "health.status.stopping.a.b");
    let id = text(changed.properties.message_id());
    assert_eq!(id, format!("{}-2-h", stage.registry.epoch()));
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_mode_direct_are_published_later_in_order() {
    let stage = Stage::start(&[("transport.mode", "queue")]).await;
    stage.until_sent().await;
    let mut all = stage.listen(&["service.events.#"]).await;
    stage.register("a", 0..20).await;
    assert_eq!(all.revisions_until(20).await, (1..=20).collect::<Vec<_>>());
    stage.set("direct").await;
    stage.register("a", 20..40).await;
    let report = stage.transport().await;
    assert_eq!(report["channels"]["events"]["lag"], 20, "{report}");
    stage.set("queue").await;
    stage.register("a", 40..60).await;
    assert_eq!(all.revisions_until(60).await, (21..=60).collect::<Vec<_>>());
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_larger_than_a_message_may_be_comes_in_parts() {
    // The embedded broker refuses what is larger, and is not sent it; RabbitMQ would take it.
    let limit = match is_rabbit() {
        true => "transport.amqp.body_max",
        false => "broker.limits.message_size",
    };
    let stage = Stage::start(&[
        ("transport.mode", "direct"),
        ("registry.log_entries_max", "64"),
        (limit, "16KiB"),
    ])
    .await;
    stage.set("queue").await;
    stage.until_sent().await;
    let mut all = stage.listen(&["service.events.#"]).await;
    stage.set("direct").await;
    stage.register("a", 0..200).await;
    stage.set("queue").await;
    let (mut ids, mut message_ids) = (Vec::new(), Vec::new());
    for at in 1.. {
        let message = all.next().await;
        assert!(message.data.len() <= 16 << 10, "{}", message.data.len());
        let message_id = message.properties.message_id().as_ref().unwrap();
        message_ids.push(message_id.to_string());
        let event: Value = serde_json::from_slice(&message.data).unwrap();
        assert_eq!(event["part"], at, "{event}");
        let share = event["snapshot"]["services"]["a"].as_array().unwrap();
        let share = share.iter().map(|one| one["service_id"].to_string());
        ids.extend(share);
        if event["part"] == event["parts"] {
            break;
        }
    }
    let distinct = |texts: &[String]| texts.iter().collect::<BTreeSet<_>>().len();
    assert!(message_ids.len() > 2, "{message_ids:?}");
    assert_eq!(distinct(&message_ids), message_ids.len());
    assert_eq!((ids.len(), distinct(&ids)), (200, 200));
    // And on from there.
    stage.register("a", 200..201).await;
    assert_eq!(all.revisions_until(201).await, [201]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_behind_the_log_get_a_snapshot_of_each_service() {
    let stage = Stage::start(&[
        ("transport.mode", "queue"),
        ("registry.log_entries_max", "64"),
    ])
    .await;
    stage.until_sent().await;
    let mut all = stage
        .listen(&["service.events.#", "gateway.routes.#"])
        .await;
    stage.register("gone", 0..1).await;
    assert_eq!(all.revisions_until(1).await, [1]);
    stage.set("direct").await;
    let left = stage
        .client
        .delete(format!("{}/services/gone-0", stage.http));
    assert_eq!(left.send().await.unwrap().status(), 200);
    stage.register("a", 0..100).await;
    stage.register("b", 0..2).await;
    stage.set("queue").await;
    let mut delivered = Vec::new();
    for _ in 0..4 {
        let (key, event) = all.event().await;
        assert_eq!(event["event"], "resync");
        assert_eq!(event["revision"], Value::Null);
        let services = event["snapshot"]["services"].as_object().unwrap();
        let sizes: Vec<_> = services
            .iter()
            .map(|(name, list)| (name.clone(), list.as_array().unwrap().len()))
            .collect();
        delivered.push((key, sizes));
    }
    delivered.sort();
    let resync = |key: &str, sizes: &[(&str, usize)]| {
        let sizes = sizes.iter().map(|(name, n)| ((*name).to_owned(), *n));
        (key.to_owned(), sizes.collect::<Vec<_>>())
    };
    assert_eq!(
        delivered,
        [
            resync("gateway.routes.resync", &[]),
            resync("service.events.resync.a", &[("a", 100)]),
            resync("service.events.resync.b", &[("b", 2)]),
            resync("service.events.resync.gone", &[]),
        ]
    );
    // And on from there, also for those that the topics feed.
    let newest = stage.registry.newest().0;
    stage.register("a", 100..101).await;
    assert_eq!(all.revisions_until(newest + 1).await, [newest + 1]);
    let called = tokio::time::timeout(Duration::from_secs(20), stage.until_called());
    called.await.expect("the callback continues too");
    stage.stop().await;
}
