//! The room as a whole, with a registry and real sockets.

mod judged;
mod limits;
mod remote;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Config, Health};
use crate::{
    model::{
        Check, CheckKind, EventKind, HttpCheck, Metadata, Registration, Revision, ServiceId,
        ServiceName, Status,
    },
    outbound::{
        self, Client,
        testing::{Target, grpc::serve, nobody, request},
    },
    registry::{self, Registry},
    telemetry::Metrics,
};

/// A registry and a health scheduler at work.
struct Daemon {
    registry: Registry,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Everything as usual, but faster.
fn quick() -> Config {
    Config {
        interval: Duration::from_millis(50).into(),
        interval_min: Duration::from_millis(50).into(),
        first_within: Duration::from_millis(10).into(),
        ..Config::default()
    }
}

fn start(config: Config) -> Daemon {
    start_with(
        config,
        &outbound::Config::default(),
        registry::Config::default(),
    )
}

fn start_with(config: Config, outbound: &outbound::Config, registry: registry::Config) -> Daemon {
    let metrics = Metrics::default();
    let registry = Registry::new(registry);
    let client = Client::new(outbound, &metrics).expect("a client");
    let health = Health::new(config, registry.clone(), client, &metrics);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(health.clone().run(stop.clone()));
    Daemon {
        registry,
        health,
        metrics,
        stop,
        tasks,
    }
}

impl Daemon {
    fn register(&self, id: &str, checks: &[Check]) {
        let registered = self.registry.register(registration(id, checks), None);
        registered.expect("registered");
    }

    fn observed(&self, id: &str) -> Status {
        self.registry.instance(id).expect("registered").observed
    }

    /// Waits until the checks of an instance say `status`; fails when they never do.
    #[track_caller]
    fn until(&self, id: &'static str, status: Status) -> impl Future<Output = ()> + use<> {
        let registry = self.registry.clone();
        let mut changes = registry.follow();
        async move {
            let reached = async {
                while registry.instance(id).expect("registered").observed != status {
                    changes.changed().await.expect("a change");
                }
            };
            let reached = timeout(Duration::from_secs(20), reached).await;
            assert!(reached.is_ok(), "{id} is not {status}");
        }
    }

    /// The reason of the last event of an instance.
    fn reason(&self, id: &str) -> String {
        let events = self.registry.since(Revision(0), 1000).expect("events");
        let mut of_id = events.iter().rev().filter(|event| {
            event
                .service_id
                .as_ref()
                .is_some_and(|known| known.as_str() == id)
        });
        let last = of_id.next().expect("an event");
        last.reason.as_deref().unwrap_or("").to_owned()
    }

    /// One line of the metrics.
    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').next_back()?.parse().ok()
    }

    async fn stopped(&mut self) {
        self.stop.cancel();
        let stopping = timeout(Duration::from_secs(5), self.tasks.join_next());
        let ended = stopping.await.expect("it stops soon").expect("it ran");
        ended.expect("it did not panic");
    }
}

fn registration(id: &str, checks: &[Check]) -> Registration {
    Registration {
        service_id: ServiceId::parse(id).expect("an id"),
        service_name: ServiceName::parse("s").expect("a name"),
        host: "127.0.0.1".into(),
        port: 1,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: crate::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: checks.into(),
    }
}

fn check(name: &str, kind: CheckKind) -> Check {
    Check {
        name: name.into(),
        kind,
        interval: Duration::from_millis(50),
        timeout: Duration::from_millis(200),
        healthy_after: 1,
        unhealthy_after: 2,
        options: None,
    }
}

fn http(name: &str, url: String) -> Check {
    let kind = HttpCheck {
        url: url.into(),
        method: "GET".into(),
        headers: Box::default(),
        expected: [200..=299].into(),
        tls_skip_verify: false,
        redirects: 0,
    };
    check(name, CheckKind::Http(Box::new(kind)))
}

fn tcp(at: SocketAddr) -> Check {
    let host = at.ip().to_string().into();
    check(
        "tcp",
        CheckKind::Tcp {
            host,
            port: at.port(),
        },
    )
}

#[tokio::test]
async fn targets_that_are_up_are_healthy_and_others_are_not_and_say_why() {
    let daemon = start(quick());
    let up = Target::always(204).await;
    let broken = Target::always(503).await;
    let moved = Target::saying(b"HTTP/1.1 301 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let garbage = Target::saying(b"\x00\x01\x02\r\n\r\n").await;
    let silent = Target::silent().await;
    let nobody = nobody().await;
    daemon.register("http", &[http("web", up.url("/health"))]);
    daemon.register("tcp", &[tcp(silent.at)]);
    daemon.register("both", &[http("web", up.url("/")), tcp(up.at)]);
    let mut by_url = registration("url", &[]);
    by_url.health_check_url = Some(up.url("/").into());
    daemon.registry.register(by_url, None).expect("registered");
    for id in ["http", "tcp", "both", "url"] {
        daemon.until(id, Status::Healthy).await;
    }
    daemon.register("503", &[http("web", broken.url("/"))]);
    daemon.register("301", &[http("web", moved.url("/"))]);
    daemon.register("garbage", &[http("web", garbage.url("/"))]);
    daemon.register("silent", &[http("web", silent.url("/"))]);
    daemon.register("nobody", &[tcp(nobody)]);
    daemon.register("half", &[http("web", up.url("/")), tcp(nobody)]);
    for (id, reason) in [
        ("503", "check \"web\": 503 Service Unavailable"),
        (
            "301",
            "check \"web\": 301 Moved Permanently: redirects are not followed (field \"redirects\" of the check, at most 5)",
        ),
        ("garbage", "check \"web\": the response is not valid"),
        (
            "silent",
            "check \"web\": connected, but no response within the timeout (200ms)",
        ),
        (
            "nobody",
            "check \"tcp\": connection refused (nothing listens) at 127.0.0.1",
        ),
        (
            "half",
            "check \"tcp\": connection refused (nothing listens) at 127.0.0.1",
        ),
    ] {
        daemon.until(id, Status::Unhealthy).await;
        let found = daemon.reason(id);
        assert!(found.starts_with(reason), "{id}: {found}");
    }
    let passed = "musterd_health_probes_total{kind=\"http\",outcome=\"passed\"}";
    assert!(daemon.metric(passed) > Some(2.0));
    let late = "musterd_health_probes_total{kind=\"http\",outcome=\"timed_out\"}";
    assert!(daemon.metric(late) > Some(1.0));
    assert_eq!(daemon.metric("musterd_health_checks"), Some(12.0));
}

#[tokio::test]
async fn a_grpc_service_is_asked_for_by_its_name() {
    let target = Target::start(|stream, _| serve(stream)).await;
    let daemon = start(quick());
    for service in ["", "down", "nowhere"] {
        let kind = CheckKind::Grpc {
            host: "127.0.0.1".into(),
            port: target.at.port(),
            service: service.into(),
            tls: false,
            tls_skip_verify: false,
        };
        daemon.register(&format!("grpc-{service}"), &[check("rpc", kind)]);
    }
    daemon.until("grpc-", Status::Healthy).await;
    daemon.until("grpc-down", Status::Unhealthy).await;
    daemon.until("grpc-nowhere", Status::Unhealthy).await;
    assert_eq!(daemon.reason("grpc-down"), "check \"rpc\": NOT_SERVING");
    let reason = daemon.reason("grpc-nowhere");
    assert_eq!(reason, "check \"rpc\": gRPC status 5 (NOT_FOUND)");
    assert!(target.connections() <= 3, "connections are kept");
}

#[tokio::test]
async fn a_target_that_recovers_is_healthy_again() {
    let answers = Arc::new(AtomicUsize::new(200));
    let code = Arc::clone(&answers);
    let target = Target::start(move |mut stream, _| {
        let code = Arc::clone(&code);
        async move {
            while request(&mut stream).await.is_some() {
                let code = code.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("written");
            }
        }
    })
    .await;
    let daemon = start(quick());
    daemon.register("i", &[http("web", target.url("/"))]);
    for (code, status) in [
        (200, Status::Healthy),
        (500, Status::Unhealthy),
        (200, Status::Healthy),
    ] {
        answers.store(code, Ordering::SeqCst);
        daemon.until("i", status).await;
    }
    assert_eq!(target.connections(), 1, "the connection is kept");
    let report = daemon.health.report("i").expect("a report");
    assert!(report.checks[0].results[0].passed);
}

#[tokio::test]
async fn a_denied_network_is_not_probed_and_the_reason_says_so() {
    let target = Target::always(200).await;
    let closed = outbound::Config {
        deny: vec!["127.0.0.0/8".parse().expect("a network")],
        ..outbound::Config::default()
    };
    let daemon = start_with(quick(), &closed, registry::Config::default());
    daemon.register("i", &[http("web", target.url("/"))]);
    daemon.register("t", &[tcp(target.at)]);
    for id in ["i", "t"] {
        daemon.until(id, Status::Unhealthy).await;
        let reason = daemon.reason(id);
        let expected = "outbound.deny lists 127.0.0.0/8, which contains 127.0.0.1";
        assert!(reason.ends_with(expected), "{reason}");
    }
    assert_eq!(target.connections(), 0);
    let report = daemon.health.report("i").expect("a report");
    assert!(!report.checks[0].results[0].passed);
}

#[tokio::test]
async fn a_late_verdict_does_not_change_a_new_registration() {
    let asked = Arc::new(Notify::new());
    let answer = Arc::new(Notify::new());
    let (began, go) = (Arc::clone(&asked), Arc::clone(&answer));
    let held = Target::start(move |mut stream, _| {
        let (began, go) = (Arc::clone(&began), Arc::clone(&go));
        async move {
            request(&mut stream).await;
            began.notify_one();
            go.notified().await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let silent = Target::silent().await;
    let daemon = start(quick());
    let patient = |url| Check {
        timeout: Duration::from_secs(20),
        ..http("web", url)
    };
    daemon.register("i", &[patient(held.url("/"))]);
    asked.notified().await;
    daemon.register("i", &[patient(silent.url("/"))]);
    answer.notify_one();
    while daemon
        .metric("musterd_health_probes_total{kind=\"http\",outcome=\"passed\"}")
        .is_none()
    {
        sleep(Duration::from_millis(5)).await;
    }
    let report = daemon.health.report("i").expect("a report");
    assert_eq!(daemon.observed("i"), Status::Starting);
    assert!(report.checks[0].results.is_empty(), "{report:?}");
    let events = daemon.registry.since(Revision(0), 100).expect("events");
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Registered, EventKind::Updated]);
}

#[tokio::test]
async fn the_verdict_of_a_requested_probe_is_in_effect_at_once() {
    let seldom = Config {
        first_within: Duration::from_secs(1000).into(),
        ..quick()
    };
    let daemon = start(seldom);
    let up = Target::always(200).await;
    let down = nobody().await;
    daemon.register("up", &[http("web", up.url("/"))]);
    daemon.register("down", &[tcp(down)]);
    daemon.register("unchecked", &[]);
    assert_eq!(daemon.observed("up"), Status::Starting);
    let report = daemon.health.check_now("up").await.expect("a report");
    assert_eq!(
        (report.status, report.checks[0].status),
        (Status::Healthy, Status::Healthy)
    );
    assert_eq!(daemon.observed("up"), Status::Healthy);
    // It counts as one probe: the second failure makes the verdict.
    for expected in [Status::Starting, Status::Unhealthy] {
        let report = daemon.health.check_now("down").await.expect("a report");
        assert_eq!(
            (report.status, daemon.observed("down")),
            (expected, expected)
        );
    }
    let report = daemon.health.check_now("down").await.expect("a report");
    let results = &report.checks[0].results;
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|result| !result.passed));
    assert!(results[0].at >= results[2].at, "the newest first");
    let report = daemon
        .health
        .check_now("unchecked")
        .await
        .expect("a report");
    assert_eq!((report.status, report.checks.len()), (Status::Healthy, 0));
    assert!(daemon.health.check_now("nowhere").await.is_none());
    assert!(daemon.health.report("nowhere").is_none());
    daemon.registry.deregister("up", None).expect("known");
    assert!(daemon.health.check_now("up").await.is_none());
}

#[tokio::test]
async fn a_passing_check_renews_the_lease_and_a_failing_one_does_not() {
    let daemon = start(quick());
    let up = Target::always(200).await;
    let down = nobody().await;
    daemon.register("up", &[http("web", up.url("/"))]);
    daemon.register("down", &[tcp(down)]);
    let renewed = |id| {
        daemon
            .registry
            .instance(id)
            .expect("known")
            .last_seen
            .last_renewed_ms()
    };
    let before = (renewed("up"), renewed("down"));
    daemon.until("down", Status::Unhealthy).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while renewed("up") <= before.0 && Instant::now() < deadline {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(renewed("up") > before.0);
    assert_eq!(renewed("down"), before.1);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_decide_a_ttl_check() {
    let daemon = start(Config::default());
    let ttl = Check {
        interval: Duration::from_secs(10),
        ..check("beat", CheckKind::Ttl)
    };
    daemon.register("i", &[ttl]);
    let began = Instant::now();
    daemon.until("i", Status::Healthy).await;
    assert!(
        began.elapsed() <= Duration::from_millis(1010),
        "{:?}",
        began.elapsed()
    );
    sleep(Duration::from_secs(5)).await;
    daemon.registry.renew("i", None).expect("known");
    let heard = Instant::now();
    daemon.until("i", Status::Unhealthy).await;
    let silence = heard.elapsed();
    assert!(silence > Duration::from_secs(10), "{silence:?}");
    assert!(silence < Duration::from_millis(10_100), "{silence:?}");
    assert_eq!(
        daemon.reason("i"),
        "check \"beat\": no heartbeat for more than 10s"
    );
    sleep(Duration::from_secs(30)).await;
    daemon.registry.renew("i", None).expect("known");
    let heard = Instant::now();
    daemon.until("i", Status::Healthy).await;
    assert!(
        heard.elapsed() <= Duration::from_millis(1010),
        "{:?}",
        heard.elapsed()
    );
    assert_eq!(daemon.observed("i"), Status::Healthy);
}

#[tokio::test]
async fn an_override_does_not_stop_the_probes() {
    let daemon = start(quick());
    let up = Target::always(200).await;
    daemon.register("i", &[http("web", up.url("/"))]);
    let word = crate::model::OverrideStatus::Stopping;
    daemon
        .registry
        .set_override("i", word, None)
        .expect("known");
    while daemon.observed("i") != Status::Healthy {
        sleep(Duration::from_millis(5)).await;
    }
    let report = daemon.health.report("i").expect("a report");
    assert_eq!(
        (report.status, daemon.observed("i")),
        (Status::Stopping, Status::Healthy)
    );
}
