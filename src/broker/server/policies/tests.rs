use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{NoPolicyRows, PolicyRefused, PolicyRows, turn};
use crate::broker::{
    Broker, Config,
    local::{LocalChannel, LocalPublish},
    policy::{PolicySet, PolicySource, QueuePolicy},
    wire::{ShortStr, method::queue::Declare, properties::PropertyList},
};

fn broker() -> Broker {
    let config = Config {
        listen: String::new(),
        ..Config::default()
    };
    Broker::new(config).unwrap()
}

fn short(text: &str) -> ShortStr {
    ShortStr::try_from(text).unwrap()
}

async fn declare(channel: &mut LocalChannel, name: &str) {
    let declare = Declare {
        queue: short(name),
        ..Declare::default()
    };
    channel.declare_queue(declare).await.unwrap();
}

async fn publish(channel: &mut LocalChannel, name: &str, count: usize) {
    for _ in 0..count {
        channel.publish(LocalPublish {
            exchange: ShortStr::EMPTY,
            routing_key: short(name),
            properties: PropertyList::default().build(),
            body: Bytes::from_static(b"x"),
        });
    }
    while channel.confirmed().await.unwrap() > 0 {}
}

async fn set(broker: &Broker, name: &str, fields: &Value) -> Result<bool, PolicyRefused> {
    let source = PolicySource::read(fields.as_object().unwrap())?;
    broker.set_policy("/", name, Some(source)).await
}

async fn waiting(broker: &Broker, name: &str) -> u64 {
    broker.queue("/", name).await.unwrap().messages_ready
}

#[tokio::test]
async fn queues_follow_a_policy_before_and_after_they_are_declared() {
    let broker = broker();
    let mut channel = broker.local("/").unwrap().open();
    declare(&mut channel, "jobs.old").await;
    let short_queues = json!({"pattern": "^jobs", "definition": {"max-length": 3}});
    assert_eq!(set(&broker, "short", &short_queues).await, Ok(true));
    assert_eq!(set(&broker, "short", &short_queues).await, Ok(false));
    declare(&mut channel, "jobs.new").await;
    declare(&mut channel, "other").await;
    for (name, expected) in [("jobs.old", 3), ("jobs.new", 3), ("other", 5)] {
        publish(&mut channel, name, 5).await;
        assert_eq!(waiting(&broker, name).await, expected, "{name}");
    }
    // The queue's own arguments are as they were.
    assert_eq!(broker.set_policy("/", "short", None).await, Ok(false));
    publish(&mut channel, "jobs.old", 5).await;
    assert_eq!(waiting(&broker, "jobs.old").await, 8);
}

#[tokio::test]
async fn a_turn_counts_the_patterns_that_are_tried() {
    let broker = broker();
    let mut channel = broker.local("/").unwrap().open();
    for number in 0..200 {
        declare(&mut channel, &format!("jobs.{number}")).await;
    }
    let policy = json!({"pattern": "^other", "definition": {"expires": 1000}});
    let source = PolicySource::read(policy.as_object().unwrap()).unwrap();
    let mut set = PolicySet::default();
    for number in 0..100 {
        let policy = QueuePolicy::new(source.clone()).unwrap();
        set = set.with(&number.to_string(), Some(policy)).unwrap();
    }
    let cell = broker.shared().vhost("/").unwrap();
    cell.lock().set_policies(Arc::new(set));
    let (mut turns, mut from) = (0, Some(0));
    while let Some(at) = from {
        from = turn(&cell, at);
        turns += 1;
    }
    // 20,000 patterns of at least two steps each.
    assert!(turns >= 3, "{turns}");
}

#[tokio::test]
async fn a_policy_dead_letters_and_expires() {
    let broker = broker();
    let stop = tokio_util::sync::CancellationToken::new();
    let shared = Arc::clone(broker.shared());
    let cell = shared.vhost("/").unwrap();
    let clock = super::super::clock::run(shared, cell, stop.clone());
    let tested = async {
        let mut channel = broker.local("/").unwrap().open();
        declare(&mut channel, "dead").await;
        declare(&mut channel, "brief").await;
        let definition = json!({
            "message-ttl": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "dead",
        });
        let policy = json!({"pattern": "^brief$", "definition": definition});
        set(&broker, "brief", &policy).await.unwrap();
        publish(&mut channel, "brief", 2).await;
        while waiting(&broker, "dead").await < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        declare(&mut channel, "unused").await;
        let policy = json!({"pattern": "^unused$", "definition": {"expires": 1}});
        set(&broker, "unused", &policy).await.unwrap();
        while broker.queue("/", "unused").await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(clock, tested) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn wrong_policies_and_vhosts_are_refused() {
    let broker = broker();
    let policy = json!({"pattern": ".*", "definition": {"expires": 1000}});
    let source = PolicySource::read(policy.as_object().unwrap()).unwrap();
    let refused = broker.set_policy("none", "p", Some(source.clone())).await;
    assert_eq!(refused, Err(PolicyRefused::NoVhost("none".to_owned())));
    for name in ["", "a\0b", &"x".repeat(256)] {
        let refused = broker.set_policy("/", name, Some(source.clone())).await;
        assert!(matches!(refused, Err(PolicyRefused::Fault(_))), "{name}");
    }
}

/// Rows in memory.
#[derive(Debug, Default)]
struct Rows(Mutex<std::collections::BTreeMap<Vec<u8>, Vec<u8>>>);

impl PolicyRows for Rows {
    fn store(&self, key: Vec<u8>, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        let mut rows = self.0.lock();
        match row {
            Some(row) => rows.insert(key, row),
            None => rows.remove(&key),
        };
        Box::pin(ready(Ok(())))
    }
}

#[tokio::test]
async fn policies_are_kept() {
    let rows = Arc::new(Rows::default());
    let first = broker();
    first
        .restore_policies([], Arc::<Rows>::clone(&rows))
        .await
        .unwrap();
    let policy = json!({"pattern": "^a", "priority": 3, "apply-to": "queues", "definition": {"max-length": 1}});
    set(&first, "one", &policy).await.unwrap();
    set(&first, "two", &policy).await.unwrap();
    first.set_policy("/", "two", None).await.unwrap();
    let kept = rows.0.lock().clone();
    let second = broker();
    let pairs = kept.iter().map(|(key, row)| (&**key, &**row));
    second
        .restore_policies(pairs, Arc::new(NoPolicyRows))
        .await
        .unwrap();
    let known = second.policies("/");
    let known: Vec<_> = known
        .iter()
        .map(|(name, policy)| (name.clone(), policy.source().clone()))
        .collect();
    let expected = PolicySource::read(policy.as_object().unwrap()).unwrap();
    assert_eq!(known, [("one".to_owned(), expected)]);
    let mut channel = second.local("/").unwrap().open();
    declare(&mut channel, "a").await;
    publish(&mut channel, "a", 2).await;
    assert_eq!(waiting(&second, "a").await, 1);
    let wrong = [(&b"/\0p"[..], &b"{}"[..])];
    let unreadable = broker()
        .restore_policies(wrong, Arc::new(NoPolicyRows))
        .await;
    assert_eq!(unreadable.unwrap_err().0, "//p");
}
