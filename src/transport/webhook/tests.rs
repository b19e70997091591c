mod isolation;
mod limits;
mod notices;
mod owned;
mod receiver;
mod stopping;
mod stored;

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::receiver::{Manner, Receiver, Request};
use super::*;
use crate::{
    model::{EventKind, ServiceName},
    outbound, registry,
    telemetry::Metrics,
    transport::{Circuit, DeliveryStats, Filter, NoRows, testing::registration},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A webhook as it is answered, and what is behind that.
#[derive(Debug)]
struct Info {
    answer: WatcherAnswer,
    record: DeliveryStats,
    circuit: Circuit,
    failures: u32,
}

impl std::ops::Deref for Info {
    type Target = WatcherAnswer;

    fn deref(&self) -> &WatcherAnswer {
        &self.answer
    }
}

struct Stage {
    registry: Registry,
    webhooks: Webhooks,
    notices: Arc<Notices>,
    metrics: Metrics,
}

/// Quick where the defaults are patient.
fn quick() -> Config {
    Config {
        webhook_timeout: Duration::from_secs(1).into(),
        backoff_first: Duration::from_millis(4).into(),
        backoff_max: Duration::from_millis(20).into(),
        circuit_after: 3.into(),
        circuit_open: Duration::from_millis(60).into(),
        refusals_max: 3.into(),
        drain: Duration::from_secs(8).into(),
        ..Config::default()
    }
}

fn stage_with(log_entries_max: usize, config: Config) -> Stage {
    let registry = Registry::new(registry::Config {
        log_entries_max: log_entries_max.into(),
        ..registry::Config::default()
    });
    stage_on(registry, config, Arc::new(NoRows))
}

fn stage_on(registry: Registry, config: Config, rows: Arc<dyn TransportRows>) -> Stage {
    let metrics = Metrics::default();
    let client = Client::new(&outbound::Config::default(), &metrics).unwrap();
    let direct = DirectMetrics::new(&metrics);
    let notices = Arc::new(Notices::new(64));
    let notices_seen = Arc::clone(&notices);
    let watermark = HighWatermark::default();
    let registry_seen = registry.clone();
    let webhooks = Webhooks::new(
        registry_seen,
        config,
        watermark,
        notices_seen,
        client,
        direct,
        rows,
    );
    let shown = webhooks.clone();
    metrics.before_render(move || shown.show());
    Stage {
        webhooks,
        notices,
        registry,
        metrics,
    }
}

fn stage() -> Stage {
    stage_with(10_000, quick())
}

fn draft(url: &str) -> WatcherDraft {
    WatcherDraft {
        service_name: None,
        callback_url: url.into(),
        events: Box::default(),
        secret: None,
        canary: true,
    }
}

impl Stage {
    fn register(&self, service: &str, ids: std::ops::Range<usize>) {
        for id in ids {
            let registration = registration(service, &format!("{service}-{id}"));
            self.registry.register(registration, None).unwrap();
        }
    }

    async fn watch(&self, receiver: &Receiver) -> String {
        let added = self.webhooks.add(draft(&receiver.url()), Start::Newest);
        added.await.unwrap().id
    }

    fn info(&self, id: &str) -> Info {
        let watcher = Uuid::try_parse(id).expect("an id");
        let watcher = self.webhooks.inner.table.find(watcher).unwrap();
        let subscriber = watcher.subscriber.lock().clone();
        Info {
            answer: self.webhooks.find(id).expect("the watcher is there"),
            circuit: subscriber.circuit(Instant::now()),
            failures: subscriber.failures(),
            record: subscriber.record,
        }
    }

    fn stop(&self) -> JoinHandle<()> {
        let stop = CancellationToken::new();
        stop.cancel();
        tokio_util::task::TaskTracker::new().spawn(self.webhooks.clone().run(stop))
    }

    async fn until(&self, id: &str, holds: impl Fn(&Info) -> bool) -> Info {
        let wait = async {
            loop {
                let info = self.info(id);
                if holds(&info) {
                    return info;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("{:?}", self.info(id)))
    }
}

async fn next(requests: &mut mpsc::Receiver<Request>) -> Request {
    timeout(PATIENCE, requests.recv())
        .await
        .expect("in time")
        .expect("alive")
}

/// The next request that was answered with 2xx.
async fn taken(receiver: &mut Receiver) -> Request {
    loop {
        let request = next(&mut receiver.requests).await;
        if matches!(request.manner, Manner::Answer(200..=299)) {
            return request;
        }
    }
}

async fn expect_revisions(receiver: &mut Receiver, revisions: std::ops::RangeInclusive<u64>) {
    for revision in revisions {
        assert_eq!(taken(receiver).await.json()["revision"], revision);
    }
}

#[tokio::test]
async fn the_canarys_events_are_left_out_where_a_webhook_says_so() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let draft = WatcherDraft {
        canary: false,
        ..draft(&receiver.url())
    };
    let id = stage.webhooks.add(draft, Start::Newest).await.unwrap().id;
    let mut everything = Receiver::start().await;
    stage.watch(&everything).await;
    stage.register(crate::model::CANARY, 0..3);
    stage.register("a", 0..1);
    stage.register(crate::model::CANARY, 3..5);
    expect_revisions(&mut receiver, 4..=4).await;
    expect_revisions(&mut everything, 1..=6).await;
    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!(info.record.delivered, 1, "the cursor passes the others");
    // A snapshot leaves it out too.
    let resync = WatcherDraft {
        canary: false,
        ..self::draft(&receiver.url())
    };
    stage.webhooks.add(resync, Start::Snapshot).await.unwrap();
    let body = taken(&mut receiver).await.json();
    let services = body["snapshot"]["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["a"]);
}

#[tokio::test]
async fn events_arrive_in_order_and_say_what_they_are() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    stage.register("a", 0..1);
    let id = stage.watch(&receiver).await;
    stage.register("a", 1..100);
    let first = taken(&mut receiver).await;
    assert_eq!(first.head, "POST /hook?key=1 HTTP/1.1");
    assert_eq!(first.header("content-type"), "application/json");
    assert!(first.header("user-agent").starts_with("musterd/"));
    assert_eq!(first.header("host"), receiver.at.to_string());
    assert_eq!(first.header("x-musterd-event"), "registered");
    assert_eq!(
        first.header("x-musterd-delivery"),
        format!("{}-2", stage.registry.epoch())
    );
    assert_eq!(first.header("x-musterd-watcher"), id);
    assert!(!first.headers.contains_key("x-musterd-signature"));
    assert_eq!(first.json()["instance"]["service_id"], "a-1");
    expect_revisions(&mut receiver, 3..=100).await;

    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!(info.record.delivered, 99);
    assert_eq!(info.cursor.revision.0, 100);
    assert_eq!(info.state, "active");
    assert!(info.record.last_delivered_at.is_some());
    assert!(!info.signed);
    let rendered = stage.metrics.render();
    assert!(
        rendered.contains("musterd_event_delivery_seconds_count 99"),
        "{rendered}"
    );
}

#[tokio::test]
async fn a_signature_proves_the_delivery_its_time_and_its_body() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let draft = WatcherDraft {
        secret: Some("it's a secret".into()),
        ..draft(&receiver.url())
    };
    let added = stage.webhooks.add(draft, Start::Newest).await;
    assert!(added.unwrap().signed);
    receiver.behave(Manner::Answer(500));
    stage.register("a", 0..1);
    next(&mut receiver.requests).await;
    receiver.behave(Manner::Answer(200));
    let request = taken(&mut receiver).await;
    let timestamp = request.header("x-musterd-timestamp");
    let now_s = stage.registry.clock().now().wall.0 / 1_000;
    assert!((now_s - timestamp.parse::<i64>().unwrap()).abs() <= 5);

    let mut mac = Hmac::<Sha256>::new_from_slice(b"it's a secret").unwrap();
    mac.update(format!("{}.{timestamp}.", request.header("x-musterd-delivery")).as_bytes());
    mac.update(&request.body);
    let hex: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        request.header("x-musterd-signature"),
        format!("sha256={hex}")
    );
}

#[tokio::test]
async fn a_webhook_gets_only_the_events_of_its_filter() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let draft = WatcherDraft {
        service_name: Some(ServiceName::parse("a").unwrap()),
        events: [EventKind::Deregistered].into(),
        ..draft(&receiver.url())
    };
    let added = stage.webhooks.add(draft, Start::Newest).await;
    let id = added.unwrap().id;
    stage.register("a", 0..3);
    stage.register("b", 0..3);
    for gone in ["b-1", "a-1"] {
        stage.registry.deregister(gone, None).unwrap();
    }
    let request = taken(&mut receiver).await;
    assert_eq!(request.header("x-musterd-event"), "deregistered");
    assert_eq!(request.json()["service_id"], "a-1");
    stage.register("b", 3..50);
    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!(info.record.delivered, 1);
    assert!(receiver.requests.try_recv().is_err());
}

/// The receiver misbehaves in `manner`, then recovers: the same event comes again, none is missing,
/// and a redirect was not followed.
async fn check_recovers(manner: Manner, error: &str) {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    receiver.behave(manner);
    stage.register("a", 0..5);
    for _ in 0..2 {
        let request = next(&mut receiver.requests).await;
        assert_eq!(request.json()["revision"], 1, "{manner:?}");
        assert_eq!(request.head, "POST /hook?key=1 HTTP/1.1");
    }
    let info = stage.until(&id, |info| info.record.failed >= 1).await;
    assert_eq!((info.record.delivered, info.cursor.revision.0), (0, 0));
    assert_eq!(info.lag, 5);
    let said = info.record.last_error.unwrap_or_default();
    assert!(said.contains(error), "{manner:?}: {said}");
    receiver.behave(Manner::Answer(200));
    expect_revisions(&mut receiver, 1..=5).await;
    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!(
        (info.record.delivered, info.record.resyncs, info.failures),
        (5, 0, 0)
    );
}

#[tokio::test]
async fn a_receiver_that_answers_500_gets_the_event_again() {
    check_recovers(Manner::Answer(500), "receiver answered 500").await;
}

#[tokio::test]
async fn a_redirect_is_a_failure() {
    check_recovers(Manner::Answer(307), "receiver answered 307").await;
}

#[tokio::test]
async fn a_receiver_that_answers_404_keeps_its_cursor() {
    check_recovers(Manner::Answer(404), "receiver answered 404").await;
}

#[tokio::test]
async fn a_receiver_that_resets_gets_the_event_again() {
    check_recovers(Manner::Reset, "").await;
}

#[tokio::test]
async fn a_receiver_that_answers_garbage_gets_the_event_again() {
    check_recovers(Manner::Garbage, "").await;
}

#[tokio::test]
async fn a_receiver_that_hangs_gets_the_event_again() {
    check_recovers(Manner::Hang, "did not answer within 1s").await;
}

#[tokio::test]
async fn a_restarted_receiver_misses_nothing() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    stage.register("a", 0..10);
    expect_revisions(&mut receiver, 1..=10).await;
    receiver.die().await;
    stage.register("a", 10..30);
    let dead = stage
        .until(&id, |info| info.circuit != Circuit::Closed)
        .await;
    assert_eq!(dead.cursor.revision.0, 10);
    assert!(["open", "half_open"].contains(&dead.state));
    wait_for_metric(&stage, "musterd_webhook_circuits_open 1").await;
    wait_for_metric(&stage, "musterd_webhook_lag_events 20").await;

    receiver.come_back().await;
    expect_revisions(&mut receiver, 11..=30).await;
    let info = stage.until(&id, |info| info.lag == 0).await;
    assert_eq!(info.circuit, Circuit::Closed);
    assert_eq!((info.record.delivered, info.record.resyncs), (30, 0));
    wait_for_metric(&stage, "musterd_webhook_circuits_open 0").await;
}

async fn wait_for_metric(stage: &Stage, line: &str) {
    let wait = async {
        while !stage.metrics.render().contains(line) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("{line}: {}", stage.metrics.render()));
}

#[tokio::test]
async fn a_removed_webhook_gets_no_more_events() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let mut other = Receiver::start().await;
    let id = stage.watch(&receiver).await;
    let kept = stage.watch(&other).await;
    stage.register("a", 0..1);
    expect_revisions(&mut receiver, 1..=1).await;
    assert!(stage.webhooks.remove(&id).await.unwrap());
    assert!(!stage.webhooks.remove(&id).await.unwrap());
    assert!(!stage.webhooks.remove("no uuid").await.unwrap());
    assert!(stage.webhooks.find(&id).is_none());
    stage.register("a", 1..10);
    expect_revisions(&mut other, 1..=10).await;
    assert!(receiver.requests.try_recv().is_err());
    let ids: Vec<_> = stage
        .webhooks
        .list()
        .iter()
        .map(|info| info.id.clone())
        .collect();
    assert_eq!(ids, [kept]);
}

async fn check_refused(stage: &Stage, url: &str, expected: &str) {
    let refused = stage
        .webhooks
        .add(draft(url), Start::Newest)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains(expected), "{url}: {refused}");
    assert!(stage.webhooks.list().is_empty());
}

#[tokio::test]
async fn a_url_that_cannot_be_requested_is_refused() {
    let stage = stage();
    check_refused(&stage, "", "").await;
    check_refused(&stage, "/relative", "http").await;
    check_refused(&stage, "ftp://127.0.0.1/", "http").await;
    check_refused(&stage, "http://127.0.0.1:0/", "port").await;
    check_refused(&stage, "http://user:password@127.0.0.1/", "credentials").await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_reached() {
    let stage = stage();
    let url = "http://169.254.169.254/latest/meta-data";
    let id = stage
        .webhooks
        .add(draft(url), Start::Newest)
        .await
        .unwrap()
        .id;
    stage.register("a", 0..1);
    let info = stage.until(&id, |info| info.record.failed >= 1).await;
    let error = info.record.last_error.unwrap();
    assert!(
        error.contains("not allowed to connect to \"169.254.169.254\""),
        "{error}"
    );
}

/// Not the least of an idle webhook's cost: its task is as large as its future.
#[tokio::test]
async fn the_task_of_a_webhook_is_small() {
    let stage = stage();
    let inner = &stage.webhooks.inner;
    let post = Post::new(inner, Uuid::now_v7(), "http://127.0.0.1/", None).unwrap();
    let (_, filter) = watch::channel(Filter::default());
    let mut relay = Relay::new(
        String::new(),
        LogFeed::new(stage.registry.clone(), filter),
        post,
        Arc::new(Mutex::new(
            Start::Newest.subscriber(&stage.registry, quick().policy()),
        )),
        stage.registry.clock().clone(),
        inner.counts.clone(),
    );
    let stop = CancellationToken::new();
    let bytes = size_of_val(&relay.run(&stop));
    let bytes = bytes + size_of_val(&relay);
    assert!(bytes < 3_000, "{bytes} bytes");
}
