use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    broker::wire::properties::PropertyList,
    model::CheckOutcome,
    registry::{Config, Registry},
    telemetry::testing::LoggedText,
    transport::amqp::{
        broker::{AmqpConnection, Purpose},
        connected::Connected,
        topics::tests::Scripted,
    },
};

/// Panics at the first probe.
#[derive(Debug, Default)]
struct PanicsOnce(AtomicUsize);

impl Probing for PanicsOnce {
    fn probe<'a>(&'a self, _: &'a Check, _: Duration) -> BoxFuture<'a, Probed> {
        Box::pin(async {
            let made = self.0.fetch_add(1, Ordering::Relaxed);
            assert!(made > 0, "a fault of a probe");
            Probed {
                outcome: CheckOutcome::Passed,
                latency: Duration::ZERO,
                text: "".into(),
            }
        })
    }
}

fn request(tag: u64, clock: &Clock) -> Delivery {
    let deadline = Timestamp(clock.now().wall.0 + 60_000);
    let body = serde_json::json!({
        "service_id": format!("a-{tag}"), "incarnation": 1, "deadline": deadline.to_string(),
        "check": {"type": "tcp", "name": "port", "address": "127.0.0.1:1", "timeout": "1s"},
    });
    Delivery {
        tag,
        key: short(names::CHECK_REQUEST),
        properties: PropertyList::default().build(),
        body: body.to_string().into(),
    }
}

#[tokio::test]
async fn a_probe_that_panics_is_settled_without_a_verdict() {
    let logged = LoggedText::start();
    let metrics = Metrics::default();
    let clock = Registry::new(Config::default()).clock().clone();
    let mut probes = ProbesUnderWay {
        probing: Arc::new(PanicsOnce::default()),
        clock: clock.clone(),
        probes_max: 2,
        drain: Duration::from_secs(1),
        requests: metrics.counters("requests", "by result", &["result"]),
        dead_letters: DeadLetters::default(),
        under_way: JoinSet::new(),
        done: Vec::new(),
    };
    let broker = Scripted::default();
    let channel = AmqpConnection::open(&broker, Purpose::Consume).await;
    let connected = Arc::new(Connected::new(Arc::new(broker.clone()), 1));
    let mut open = ConsumerChannel {
        channel: channel.unwrap(),
        usage: connected.usage().unwrap(),
    };
    let requests = vec![request(1, &clock), request(2, &clock)];
    probes.take(&mut open, requests).await.unwrap();
    probes.drain(&mut open).await.unwrap();
    let mut settled = broker.acked();
    settled.sort_unstable();
    assert_eq!(settled, [1, 2], "both places are free again");
    let count = |result| probes.requests.with_label_values(&[result]).get();
    assert_eq!((count("answered"), count("panicked")), (1, 1));
    let text = logged.text();
    assert!(text.contains("a probe of \"a-1\" panicked"), "{text}");
}
