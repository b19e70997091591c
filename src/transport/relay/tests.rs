use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use super::*;
use crate::{
    model::{EventKind, Revision, ServiceId, ServiceName},
    registry::{Compacted, Config, Registry},
    telemetry::{Metrics, testing::LoggedText},
    transport::{
        DirectMetrics, Filter, Found, LogFeed, Policy, Start,
        testing::{draft, registration},
    },
};

const POLICY: Policy = Policy {
    backoff_first: Duration::from_millis(200),
    backoff_max: Duration::from_secs(2),
    circuit_after: 4,
    circuit_open: Duration::from_secs(15),
    refusals_max: 2,
};

/// Takes batches; fails where its script says so, then works again.
#[derive(Debug, Default)]
struct Scripted {
    /// Before each failure, how many events it takes.
    script: VecDeque<(usize, DeliveryError)>,
    taken: Vec<u64>,
    snapshots: Vec<u64>,
    batches: Vec<usize>,
}

impl Scripted {
    fn next_failure(&mut self) -> Option<DeliveryError> {
        match self.script.front_mut() {
            Some((0, _)) => self.script.pop_front().map(|(_, error)| error),
            Some((before, _)) => {
                *before -= 1;
                None
            }
            None => None,
        }
    }
}

/// Panics at its first deliveries instead of failing.
struct Panicking<'a>(&'a mut Scripted);

impl Transport for Panicking<'_> {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        let delivered = (&mut *self.0).deliver(events, progress).await;
        assert!(delivered.is_ok(), "a fault of a transport");
        delivered
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        (&mut *self.0).resync(snapshot, progress).await
    }
}

impl Transport for &mut Scripted {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        self.batches.push(events.len());
        for event in events {
            if let Some(error) = self.next_failure() {
                return Err(error);
            }
            self.taken.push(event.revision.0);
            progress.reached(event);
        }
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        _: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        if let Some(error) = self.next_failure() {
            return Err(error);
        }
        self.snapshots.push(snapshot.cursor.revision.0);
        Ok(())
    }
}

fn registry(log_entries_max: usize, instances: usize) -> Registry {
    let registry = Registry::new(Config {
        log_entries_max: log_entries_max.into(),
        ..Config::default()
    });
    for id in 0..instances {
        registry
            .register(registration("a", &format!("a-{id}")), None)
            .unwrap();
    }
    registry
}

/// Drains the log, from its beginning, into a transport that follows `script`.
async fn drain(registry: &Registry, script: Vec<(usize, DeliveryError)>) -> (Scripted, Ended) {
    let mut transport = Scripted {
        script: script.into(),
        ..Scripted::default()
    };
    let start = Start::After(registry.cursor(Revision(0)));
    let subscriber = start.subscriber(registry, POLICY);
    let (_filter, wanted) = watch::channel(Filter::default());
    let mut relay = Relay::new(
        "test".to_owned(),
        LogFeed::new(registry.clone(), wanted),
        &mut transport,
        Arc::new(Mutex::new(subscriber)),
        registry.clock().clone(),
        DirectMetrics::new(&Metrics::default()).of("test"),
    );
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = timeout(Duration::from_secs(600), relay.run(&stop)).await;
    drop(relay);
    (transport, ended.expect("drained in time"))
}

/// The same with a transport that panics where the script has a failure.
async fn drain_caught(
    registry: &Registry,
    transport: &mut Scripted,
) -> (Ended, Arc<Mutex<Subscriber>>) {
    let start = Start::After(registry.cursor(Revision(0)));
    let subscriber = Arc::new(Mutex::new(start.subscriber(registry, POLICY)));
    let (_filter, wanted) = watch::channel(Filter::default());
    let mut relay = Relay::new(
        "webhook 7".to_owned(),
        LogFeed::new(registry.clone(), wanted),
        Panicking(transport),
        Arc::clone(&subscriber),
        registry.clock().clone(),
        DirectMetrics::new(&Metrics::default()).of("test"),
    );
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = timeout(Duration::from_secs(600), relay.run_caught(&stop)).await;
    (ended.expect("it ends in time"), subscriber)
}

fn failed() -> DeliveryError {
    DeliveryError::Failed("no".into())
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_carried_in_batches_and_in_order() {
    let (transport, ended) = drain(&registry(1_000, 200), Vec::new()).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(transport.taken, (1..=200).collect::<Vec<_>>());
    assert!(transport.batches.len() > 1 && transport.batches.iter().all(|n| *n <= 64));
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_within_a_batch_the_rest_comes_again_and_nothing_else() {
    let script = vec![(3, failed()), (0, failed()), (70, DeliveryError::Panicked)];
    let (transport, ended) = drain(&registry(1_000, 200), script).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(transport.taken, (1..=200).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_a_failing_receiver_is_tried_until_its_circuit_opens() {
    let script = (0..10).map(|_| (0, failed())).collect();
    let (transport, ended) = drain(&registry(1_000, 3), script).await;
    assert_eq!(ended, Ended::Undelivered);
    assert!(transport.taken.is_empty());
    assert_eq!(transport.script.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_delivery_and_is_retried() {
    let logged = LoggedText::start();
    let registry = registry(1_000, 10);
    let mut transport = Scripted {
        script: [(3, failed()), (0, failed())].into(),
        ..Scripted::default()
    };
    let (ended, subscriber) = drain_caught(&registry, &mut transport).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(transport.taken, (1..=10).collect::<Vec<_>>());
    assert_eq!(subscriber.lock().record.failed, 2);
    let text = logged.text();
    assert_eq!(text.matches("webhook 7 panicked").count(), 2, "{text}");
}

#[tokio::test(start_paused = true)]
async fn at_a_stop_a_relay_that_panics_is_tried_until_its_circuit_opens() {
    let registry = registry(1_000, 3);
    let mut transport = Scripted {
        script: (0..10).map(|_| (0, failed())).collect(),
        ..Scripted::default()
    };
    let (ended, _) = drain_caught(&registry, &mut transport).await;
    assert_eq!(ended, Ended::Undelivered);
    assert_eq!(transport.script.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_ends_the_relay() {
    let (transport, ended) = drain(&registry(100, 5), vec![(2, DeliveryError::Gone)]).await;
    assert_eq!(ended, Ended::Gone);
    assert_eq!(transport.taken, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn out_of_the_log_a_snapshot_takes_the_place_even_if_it_fails_at_first() {
    let (transport, ended) = drain(&registry(10, 50), vec![(0, failed())]).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(transport.snapshots, [50]);
    assert!(transport.taken.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_replaced_by_a_snapshot() {
    let refused = || (0, DeliveryError::Refused(422));
    let (transport, ended) = drain(&registry(100, 5), vec![refused(), refused()]).await;
    assert_eq!(ended, Ended::Drained);
    assert_eq!(transport.snapshots, [5]);
    assert!(transport.taken.is_empty());
}

/// Keeps the table that its deliveries describe, and refuses each that does not fit.
#[derive(Debug, Default)]
struct Mirror {
    /// By service too: a snapshot shows each at its own moment, so that one id may be in two.
    table: BTreeMap<(ServiceName, ServiceId), Revision>,
    resyncs: usize,
    faults: Vec<String>,
    slow: bool,
}

impl Mirror {
    fn take(&mut self, event: &Event) {
        let id = (
            event.service_name.clone().unwrap(),
            event.service_id.clone().unwrap(),
        );
        let fits = match event.kind {
            EventKind::Registered => self.table.insert(id, event.revision).is_none(),
            EventKind::Deregistered => self.table.remove(&id).is_some(),
            _ => false,
        };
        if !fits {
            self.faults
                .push(format!("{} at {}", event.kind, event.revision));
        }
    }
}

impl Transport for &mut Mirror {
    async fn deliver(
        &mut self,
        events: &[Arc<Event>],
        progress: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        for event in events {
            if self.slow {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.take(event);
            progress.reached(event);
        }
        Ok(())
    }

    async fn resync(
        &mut self,
        snapshot: &Arc<FeedSnapshot>,
        _: &DeliveryProgress<'_>,
    ) -> Result<(), DeliveryError> {
        self.resyncs += 1;
        let views = snapshot.state.services.iter();
        let instances = views.flat_map(|(_, view)| view.instances.iter());
        self.table = instances
            .map(|(id, instance)| ((instance.name().clone(), id.clone()), instance.revision))
            .collect();
        Ok(())
    }
}

/// Writers race a reader that falls behind again and again: snapshots and events together have each change
/// exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn snapshots_and_events_together_give_the_table() {
    let registry = registry(128, 0);
    let mut mirror = Mirror {
        slow: true,
        ..Mirror::default()
    };
    let subscriber = Start::Newest.subscriber(&registry, POLICY);
    let (_filter, wanted) = watch::channel(Filter::default());
    let mut relay = Relay::new(
        "test".to_owned(),
        LogFeed::new(registry.clone(), wanted),
        &mut mirror,
        Arc::new(Mutex::new(subscriber)),
        registry.clock().clone(),
        DirectMetrics::new(&Metrics::default()).of("test"),
    );
    let stop = CancellationToken::new();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..3 {
        let registry = registry.clone();
        writers.spawn(async move {
            for turn in 0..2_000 {
                let id = format!("{writer}-{}", turn % 7);
                let service = format!("s{}", turn % 5);
                if registry.deregister(&id, None).is_err() {
                    registry
                        .register(registration(&service, &id), None)
                        .unwrap();
                }
                if turn % 20 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
    }
    let stopper = async {
        writers.join_all().await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(relay.run(&stop), stopper);
    drop(relay);
    assert_eq!(ended, Ended::Drained);
    assert_eq!(mirror.faults, Vec::<String>::new());
    assert!(
        mirror.resyncs > 0,
        "the case must make the reader fall behind the log"
    );
    let mut table = BTreeMap::new();
    for service in registry.services() {
        for (id, instance) in &service.view().instances {
            let id = (service.name().clone(), id.clone());
            table.insert(id, instance.revision);
        }
    }
    assert_eq!(mirror.table, table);
}

/// Its snapshots of services are as of revision 1.
struct Early(LogFeed);

impl Feed for Early {
    fn look(&mut self, after: Revision) -> Result<Found, Compacted> {
        self.0.look(after)
    }

    fn snapshot(&self) -> FeedSnapshot {
        let mut snapshot = self.0.snapshot();
        snapshot.state.revision = Revision(1);
        snapshot.cursor.revision = Revision(1);
        snapshot
    }

    async fn changed(&mut self) -> bool {
        self.0.changed().await
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_a_snapshot_shows_are_not_sent_again() {
    let registry = registry(100, 1);
    // Revision 2: the snapshot shows this route already.
    registry.set_route(draft("r", "a")).unwrap();
    for id in 2..5 {
        registry
            .register(registration("a", &format!("a-{id}")), None)
            .unwrap();
    }
    let mut transport = Scripted::default();
    let subscriber = Start::Snapshot.subscriber(&registry, POLICY);
    let (_filter, wanted) = watch::channel(Filter::default());
    let mut relay = Relay::new(
        "test".to_owned(),
        Early(LogFeed::new(registry.clone(), wanted)),
        &mut transport,
        Arc::new(Mutex::new(subscriber)),
        registry.clock().clone(),
        DirectMetrics::new(&Metrics::default()).of("test"),
    );
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(relay.run(&stop).await, Ended::Drained);
    assert!(
        relay.recent.is_none(),
        "a snapshot is let go when it covers nothing more"
    );
    drop(relay);
    assert_eq!(transport.snapshots, [1]);
    assert_eq!(transport.taken, [3, 4, 5]);
}
