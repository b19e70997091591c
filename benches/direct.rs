//! How long after `register` has returned subscribers get the event: `cargo bench --bench direct`.
//!
//! Each figure is the time from the return of the call that changed the registry to the moment a
//! callback runs, or a webhook's receiver has read the request; 0 where it came first.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use musterd::{
    api::WatcherDraft,
    catalog::{Caller, Catalog, Door, Register},
    model::{Metadata, Registration, ServiceId, ServiceName},
    outbound,
    registry::{self, Notices, Registry},
    telemetry::Metrics,
    transport::{
        CallbackError, Callbacks, Config, Delivery, DirectMetrics, Filter, HighWatermark, NoRows,
        Start, Webhooks,
    },
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, interval, sleep},
};

/// Moments of each revision, in nanoseconds since the start.
struct Moments {
    start: Instant,
    returned: Vec<AtomicU64>,
    received: Vec<AtomicU64>,
    n_told: AtomicUsize,
}

impl Moments {
    fn new(events: usize, subscribers: usize) -> Self {
        let zeroes = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            start: Instant::now(),
            returned: zeroes(events + 1),
            received: zeroes((events + 1) * subscribers),
            n_told: AtomicUsize::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn received(&self, subscriber: usize, revision: u64) {
        let revision = usize::try_from(revision).unwrap_or(0);
        let slot = subscriber * self.returned.len() + revision;
        self.received[slot].store(self.now(), Ordering::Relaxed);
        self.n_told.fetch_add(1, Ordering::Relaxed);
    }

    /// Registers instances at `pace`, and waits until all subscribers have all events. Nothing spins
    /// meanwhile: the machine's cores are for the subscribers.
    async fn drive(&self, registry: &Registry, pace: Pace) {
        let mut ticks = interval(pace.tick);
        let (catalog, caller) = (Catalog::new(registry.clone()), Caller::by(Door::Embedding));
        for revision in 1..self.returned.len() {
            if (revision - 1) % pace.burst == 0 {
                ticks.tick().await;
            }
            let command = Register {
                registration: registration(revision),
                incarnation: None,
            };
            let registered = catalog.write(&caller, command).await;
            let at = self.now();
            registered.expect("room for it");
            self.returned[revision].store(at, Ordering::Relaxed);
        }
        let expected = (self.returned.len() - 1) * (self.received.len() / self.returned.len());
        while self.n_told.load(Ordering::Relaxed) < expected {
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn report(&self, what: &str) {
        let events = self.returned.len();
        let received = self
            .received
            .iter()
            .enumerate()
            .filter(|(i, _)| i % events != 0);
        let mut waits: Vec<_> = received
            .map(|(i, received)| {
                let returned = self.returned[i % events].load(Ordering::Relaxed);
                received.load(Ordering::Relaxed).saturating_sub(returned)
            })
            .collect();
        waits.sort_unstable();
        let at = |share: usize| waits[(waits.len() - 1) * share / 1_000] / 1_000;
        println!(
            "{what:<58} p50 {:>7} µs   p99 {:>7} µs   max {:>7} µs",
            at(500),
            at(990),
            at(1_000)
        );
    }
}

/// So many changes one after the other, at each tick.
#[derive(Clone, Copy)]
struct Pace {
    burst: usize,
    tick: Duration,
}

impl Pace {
    const fn new(burst: usize, tick_ms: u64) -> Self {
        Self {
            burst,
            tick: Duration::from_millis(tick_ms),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes each {:?}", self.burst, self.tick)
    }
}

fn registration(n: usize) -> Registration {
    Registration {
        service_id: ServiceId::parse(&format!("orders-{n}")).expect("an id"),
        service_name: ServiceName::parse(&format!("orders-{}", n % 100)).expect("a name"),
        host: "10.0.0.1".into(),
        port: 8080,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: musterd::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: Box::default(),
    }
}

async fn callbacks(subscribers: usize, events: usize, pace: Pace) {
    let registry = Registry::new(registry::Config::default());
    let metrics = DirectMetrics::new(&Metrics::default());
    let room = Callbacks::new(
        registry.clone(),
        Config::default(),
        HighWatermark::default(),
        metrics,
    );
    let moments = Arc::new(Moments::new(events, subscribers));
    let mut subscriptions = Vec::new();
    for subscriber in 0..subscribers {
        let moments = Arc::clone(&moments);
        let callback = move |delivery| {
            if let Delivery::Event(event) = delivery {
                moments.received(subscriber, event.revision.0);
            }
            std::future::ready(Ok::<_, CallbackError>(()))
        };
        let subscription = room.subscribe(Filter::default(), Start::Newest, callback);
        subscriptions.push(subscription.expect("a seat"));
    }
    moments.drive(&registry, pace).await;
    moments.report(&format!("{subscribers} callbacks, {pace}"));
}

async fn webhooks(subscribers: usize, events: usize, pace: Pace) {
    let registry = Registry::new(registry::Config::default());
    let metrics = Metrics::default();
    let outbound = outbound::Client::new(&outbound::Config::default(), &metrics);
    let outbound = outbound.expect("a client");
    let metrics = DirectMetrics::new(&metrics);
    let room = Webhooks::new(
        registry.clone(),
        Config::default(),
        HighWatermark::default(),
        Arc::new(Notices::new(1)),
        outbound,
        metrics,
        Arc::new(NoRows),
    );
    let moments = Arc::new(Moments::new(events, subscribers));
    let mut receivers = JoinSet::new();
    for subscriber in 0..subscribers {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/", post(receive))
            .with_state((Arc::clone(&moments), subscriber));
        receivers.spawn(async move { axum::serve(listener, router).await });
        let draft = WatcherDraft {
            service_name: None,
            callback_url: url.into(),
            events: Box::default(),
            secret: Some("a secret of the bench".into()),
            canary: true,
        };
        room.add(draft, Start::Newest).await.expect("a seat");
    }
    moments.drive(&registry, pace).await;
    moments.report(&format!("{subscribers} webhooks, {pace}"));
}

async fn receive(
    State((moments, subscriber)): State<(Arc<Moments>, usize)>,
    headers: HeaderMap,
    _body: axum::body::Bytes,
) -> StatusCode {
    let delivery = headers.get("x-musterd-delivery");
    let delivery = delivery.and_then(|value| value.to_str().ok());
    let revision = delivery.and_then(|text| text.rsplit_once('-'));
    if let Some(Ok(revision)) = revision.map(|(_, revision)| revision.parse()) {
        moments.received(subscriber, revision);
    }
    StatusCode::NO_CONTENT
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    for pace in [Pace::new(1, 1), Pace::new(5, 1), Pace::new(1_000, 100)] {
        callbacks(1, 5_000, pace).await;
        callbacks(20, 5_000, pace).await;
    }
    webhooks(1, 1_000, Pace::new(1, 2)).await;
    webhooks(20, 200, Pace::new(1, 20)).await;
}
