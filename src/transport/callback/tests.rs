use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::{
    model::{EventKind, Revision, ServiceName},
    registry,
    telemetry::Metrics,
    transport::testing::{draft, registration},
};

const PATIENCE: Duration = Duration::from_secs(600);

struct Stage {
    registry: Registry,
    callbacks: Callbacks,
    metrics: Metrics,
}

fn stage_with(log_entries_max: usize, config: Config) -> Stage {
    let registry = Registry::new(registry::Config {
        log_entries_max: log_entries_max.into(),
        ..registry::Config::default()
    });
    let metrics = Metrics::default();
    let callbacks = Callbacks::new(
        registry.clone(),
        config,
        HighWatermark::default(),
        DirectMetrics::new(&metrics),
    );
    Stage {
        registry,
        callbacks,
        metrics,
    }
}

fn stage() -> Stage {
    stage_with(1_000, Config::default())
}

impl Stage {
    fn register(&self, service: &str, id: usize) -> Revision {
        let registration = registration(service, &format!("{service}-{id}"));
        let registered = self.registry.register(registration, None);
        registered.expect("room for it").instance.revision
    }

    /// Subscribes a callback that passes its deliveries on.
    fn listen(&self, filter: Filter, start: Start) -> (Subscription, mpsc::Receiver<Delivery>) {
        let (tx, rx) = mpsc::channel(1_000);
        let callback = move |delivery| {
            let tx = tx.clone();
            async move {
                tx.send(delivery)
                    .await
                    .map_err(|_| CallbackError::new("gone"))
            }
        };
        let subscribed = self.callbacks.subscribe(filter, start, callback);
        (subscribed.expect("a seat"), rx)
    }
}

fn service(name: &str) -> Filter {
    Filter::of(ServiceName::parse(name).unwrap())
}

async fn next(rx: &mut mpsc::Receiver<Delivery>) -> Delivery {
    timeout(PATIENCE, rx.recv())
        .await
        .expect("in time")
        .expect("alive")
}

async fn next_event(rx: &mut mpsc::Receiver<Delivery>) -> Arc<Event> {
    match next(rx).await {
        Delivery::Event(event) => event,
        Delivery::Resync(snapshot) => panic!("resync at {}", snapshot.cursor),
    }
}

async fn next_resync(rx: &mut mpsc::Receiver<Delivery>) -> Arc<FeedSnapshot> {
    match next(rx).await {
        Delivery::Resync(snapshot) => snapshot,
        Delivery::Event(event) => panic!("event {}", event.revision),
    }
}

#[track_caller]
fn assert_quiet(rx: &mut mpsc::Receiver<Delivery>) {
    assert!(rx.try_recv().is_err(), "an unexpected delivery");
}

/// Lets every task run until it waits.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn those_subscribed_are_listed_with_their_cursor_until_they_end() {
    let stage = stage();
    let (all, mut rx) = stage.listen(Filter::default(), Start::Newest);
    let failing = stage
        .callbacks
        .subscribe(service("a"), Start::Newest, |_| async {
            Err(CallbackError::new("no room"))
        });
    let failing = failing.expect("a seat");
    stage.register("a", 1);
    next_event(&mut rx).await;
    settle().await;
    let list = stage.callbacks.list();
    let shown: Vec<_> = list
        .iter()
        .map(|one| {
            (
                one.service.as_ref().map(|name| name.as_str()),
                one.cursor.revision.0,
                one.error.as_deref(),
            )
        })
        .collect();
    assert_eq!(shown, [(None, 1, None), (Some("a"), 0, Some("no room"))]);
    drop((all, failing));
    settle().await;
    assert!(stage.callbacks.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_every_event_in_order_from_now_on() {
    let stage = stage();
    stage.register("a", 0);
    let (_subscription, mut rx) = stage.listen(Filter::default(), Start::Newest);
    for id in 1..=100 {
        stage.register(if id % 2 == 0 { "a" } else { "b" }, id);
    }
    for revision in 2..=101 {
        assert_eq!(next_event(&mut rx).await.revision, Revision(revision));
    }
    settle().await;
    assert_quiet(&mut rx);
}

#[tokio::test(start_paused = true)]
async fn a_filter_leaves_out_other_services_and_kinds() {
    let stage = stage();
    let filter = Filter {
        kinds: [EventKind::Deregistered].into(),
        ..service("a")
    };
    let (subscription, mut rx) = stage.listen(filter, Start::Newest);
    for id in 0..3 {
        stage.register("a", id);
        stage.register("b", id);
    }
    stage.registry.deregister("b-1", None).unwrap();
    stage.registry.deregister("a-1", None).unwrap();
    let event = next_event(&mut rx).await;
    assert_eq!(event.kind, EventKind::Deregistered);
    assert_eq!(event.service_id.as_ref().unwrap().as_str(), "a-1");
    stage.register("a", 7);
    settle().await;
    assert_quiet(&mut rx);
    assert_eq!(subscription.cursor().revision, stage.registry.newest());
}

#[tokio::test(start_paused = true)]
async fn watchers_of_everything_get_route_events() {
    let stage = stage();
    let (_all, mut all) = stage.listen(Filter::default(), Start::Newest);
    let (_one, mut one) = stage.listen(service("a"), Start::Newest);
    stage.registry.set_route(draft("r", "a")).unwrap();
    let event = next_event(&mut all).await;
    assert_eq!(event.kind, EventKind::RouteSet);
    settle().await;
    assert_quiet(&mut one);
}

#[tokio::test(start_paused = true)]
async fn a_start_at_a_cursor_continues_and_a_lost_one_gets_a_snapshot() {
    let stage = stage_with(10, Config::default());
    for id in 0..20 {
        stage.register("a", id);
    }
    let registry = &stage.registry;
    let after = |revision| Start::After(registry.cursor(Revision(revision)));
    let (_known, mut known) = stage.listen(Filter::default(), after(15));
    assert_eq!(next_event(&mut known).await.revision, Revision(16));

    let mut foreign = registry.cursor(Revision(18));
    foreign.epoch.0 += 1;
    for start in [after(3), after(99), Start::After(foreign), Start::Snapshot] {
        let (_lost, mut lost) = stage.listen(Filter::default(), start);
        let snapshot = next_resync(&mut lost).await;
        assert_eq!(
            snapshot.cursor,
            registry.cursor(registry.newest()),
            "{start:?}"
        );
        assert_eq!(snapshot.state.services[0].1.instances.len(), 20);
        let revision = stage.register("b", usize::try_from(registry.newest().0).unwrap());
        assert_eq!(next_event(&mut lost).await.revision, revision);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_callback_gets_the_same_event_again_until_it_takes_it() {
    let stage = stage();
    let (tx, mut rx) = mpsc::channel(100);
    let attempts = Arc::new(AtomicUsize::new(0));
    let callback = move |delivery| {
        let (tx, attempts) = (tx.clone(), Arc::clone(&attempts));
        async move {
            if attempts.fetch_add(1, Ordering::Relaxed) % 3 < 2 {
                return Err(CallbackError::new("not now"));
            }
            tx.send(delivery)
                .await
                .map_err(|_| CallbackError::new("gone"))
        }
    };
    let subscription = stage
        .callbacks
        .subscribe(Filter::default(), Start::Newest, callback);
    let subscription = subscription.unwrap();
    for id in 0..10 {
        stage.register("a", id);
    }
    for revision in 1..=10 {
        assert_eq!(next_event(&mut rx).await.revision, Revision(revision));
    }
    settle().await;
    let record = subscription.record();
    assert_eq!((record.delivered, record.failed), (10, 20));
    assert_eq!(record.last_error.as_deref(), Some("not now"));
    let rendered = stage.metrics.render();
    assert!(
        rendered.contains(r#"musterd_deliveries_total{result="failed",way="callback"} 20"#),
        "{rendered}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_affects_no_other_callback() {
    let stage = stage();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let panicking = move |_| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        assert!(call != 0, "before the future is there");
        async move {
            assert!(call != 1, "within the future");
            Ok(())
        }
    };
    let bad = stage
        .callbacks
        .subscribe(Filter::default(), Start::Newest, panicking);
    let bad = bad.unwrap();
    let (_good, mut rx) = stage.listen(Filter::default(), Start::Newest);
    let started = Instant::now();
    stage.register("a", 0);
    next_event(&mut rx).await;
    assert!(started.elapsed() < Duration::from_millis(10));

    sleep(Duration::from_secs(2)).await;
    let record = bad.record();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!((record.delivered, record.failed), (1, 2));
    assert_eq!(record.last_error.as_deref(), Some("callback panicked"));
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_hangs_delays_only_itself_and_is_resynced_when_it_wakes() {
    let stage = stage_with(50, Config::default());
    let hangs = Arc::new(AtomicBool::new(true));
    let (tx, mut slow) = mpsc::channel(1_000);
    let hanging = Arc::clone(&hangs);
    let callback = move |delivery| {
        let (tx, hangs) = (tx.clone(), Arc::clone(&hanging));
        async move {
            while hangs.load(Ordering::Relaxed) {
                sleep(Duration::from_secs(1)).await;
            }
            tx.send(delivery)
                .await
                .map_err(|_| CallbackError::new("gone"))
        }
    };
    let filter = service("a");
    let slow_one = stage
        .callbacks
        .subscribe(filter, Start::Newest, callback)
        .unwrap();
    let (_quick, mut quick) = stage.listen(Filter::default(), Start::Newest);
    for id in 0..200 {
        stage.register("a", id);
        assert_eq!(
            next_event(&mut quick).await.revision,
            stage.registry.newest()
        );
    }
    hangs.store(false, Ordering::Relaxed);
    // The one it was called with, then the state in place of those that are out of the log.
    assert_eq!(next_event(&mut slow).await.revision, Revision(1));
    let snapshot = next_resync(&mut slow).await;
    assert_eq!(snapshot.cursor.revision, Revision(200));
    assert_eq!(snapshot.state.services[0].1.instances.len(), 200);
    stage.register("a", 200);
    assert_eq!(next_event(&mut slow).await.revision, Revision(201));
    settle().await;
    assert_eq!(slow_one.record().resyncs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_filter_change_takes_effect_between_two_events() {
    let stage = stage();
    let (subscription, mut rx) = stage.listen(service("a"), Start::Newest);
    stage.register("a", 0);
    stage.register("b", 0);
    assert_eq!(next_event(&mut rx).await.revision, Revision(1));
    settle().await;
    subscription.set_filter(service("b"));
    settle().await;
    // Changes of "b" before the switch were not selected then, and are not delivered now.
    assert_quiet(&mut rx);
    stage.register("a", 1);
    let b = stage.register("b", 1);
    assert_eq!(next_event(&mut rx).await.revision, b);
    subscription.set_filter(Filter::default());
    settle().await;
    stage.register("c", 1);
    assert_eq!(next_event(&mut rx).await.revision, b.next());
    settle().await;
    assert_quiet(&mut rx);
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_remaining_events_are_delivered() {
    let stage = stage();
    let (_subscription, mut rx) = stage.listen(Filter::default(), Start::Newest);
    for id in 0..500 {
        stage.register("a", id);
    }
    let stop = CancellationToken::new();
    stop.cancel();
    stage.callbacks.clone().run(stop).await;
    for revision in 1..=500 {
        let Ok(Delivery::Event(event)) = rx.try_recv() else {
            panic!("revision {revision} is missing");
        };
        assert_eq!(event.revision, Revision(revision));
    }
    let late = stage
        .callbacks
        .subscribe(Filter::default(), Start::Newest, async |_| Ok(()));
    assert!(matches!(late, Err(TransportError::Stopping)));
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_a_callback_that_hangs_is_dropped_after_the_time_to_drain() {
    let stage = stage();
    let hanging = stage
        .callbacks
        .subscribe(Filter::default(), Start::Newest, |_| {
            std::future::pending::<Result<(), CallbackError>>()
        });
    let _hanging = hanging.unwrap();
    stage.register("a", 0);
    settle().await;
    let started = Instant::now();
    let stop = CancellationToken::new();
    stop.cancel();
    stage.callbacks.clone().run(stop).await;
    let took = started.elapsed();
    assert!(took >= *Config::default().drain && took < *Config::default().drain * 2);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_callbacks_is_limited_and_permits_are_returned() {
    let config = Config {
        callbacks_max: 2.into(),
        ..Config::default()
    };
    let stage = stage_with(10, config);
    let first = stage.listen(Filter::default(), Start::Newest);
    let _second = stage.listen(Filter::default(), Start::Newest);
    let third = stage
        .callbacks
        .subscribe(Filter::default(), Start::Newest, async |_| Ok(()));
    assert_eq!(
        third.unwrap_err().to_string(),
        "there are 2 callbacks already: remove one, or raise transport.callbacks_max"
    );
    assert!(stage.metrics.render().contains("musterd_callbacks 2"));
    drop(first);
    settle().await;
    assert!(stage.metrics.render().contains("musterd_callbacks 1"));
    let _third = stage.listen(Filter::default(), Start::Newest);
}

/// Everybody sees the same history although writers and readers race.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_each_subscriber_sees_each_of_its_events_once_and_in_order() {
    const EACH: usize = 500;
    let stage = stage_with(10_000, Config::default());
    let (_all, mut all) = stage.listen(Filter::default(), Start::Newest);
    let (_a, mut a) = stage.listen(service("a"), Start::Newest);
    let mut writers = tokio::task::JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let registry = stage.registry.clone();
        writers.spawn(async move {
            for id in 0..EACH {
                let registration = registration(name, &format!("{name}-{id}"));
                registry.register(registration, None).unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for revision in 1..=4 * EACH as u64 {
        assert_eq!(next_event(&mut all).await.revision, Revision(revision));
    }
    let mut last = Revision(0);
    let mut seen = HashSet::new();
    for _ in 0..EACH {
        let event = next_event(&mut a).await;
        assert!(event.revision > last);
        last = event.revision;
        assert!(seen.insert(event.service_id.clone()));
    }
    writers.join_all().await;
}
