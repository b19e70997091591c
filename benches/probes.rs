//! Does the health scheduler keep its rate? 20,000 instances on 5 s intervals, HTTP and TCP.
//!
//! The last row is a whole daemon in mode queue: each probe is a request through the embedded broker to
//! the daemon's own prober, and a verdict back.
//!
//! Every instance has a separate loopback address, so that, as in a real fleet, one pooled connection serves
//! one instance. The targets answer from separate threads; their CPU time is shown apart.
//!
//! `cargo bench --bench probes [-- <seconds> <instances>]`

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use musterd::{
    app::App,
    catalog::{Caller, Catalog, Door, Register},
    config::Sources,
    health::{self, Health},
    model::{Check, CheckKind, HttpCheck, Metadata, Registration, ServiceId, ServiceName},
    outbound::{self, Client},
    registry::{self, Registry},
    telemetry::Metrics,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const INTERVAL: Duration = Duration::from_secs(5);
const DOORS: usize = 16;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
/// Clock ticks per second in `/proc`, the same on every Linux.
const TICKS: f64 = 100.0;

fn main() {
    let mut numbers = std::env::args().filter_map(|text| text.parse::<u32>().ok());
    let seconds = numbers.next().unwrap_or(15);
    let instances = numbers.next().unwrap_or(20_000);
    let limit = rlimit::increase_nofile_limit(65_536).expect("a limit of open files");
    println!("{instances} instances, interval {INTERVAL:?}, {seconds} s each, {limit} open files");
    println!(
        "{:<6} {:>10} {:>10} {:>8} {:>12} {:>12} {:>10} {:>10}",
        "checks",
        "probes/s",
        "wanted/s",
        "passed",
        "late p50 s",
        "late p99 s",
        "CPU ours",
        "CPU all"
    );
    let targets = runtime("target", 2);
    let ports: Vec<u16> = {
        let _inside = targets.enter();
        (0..DOORS).map(|_| listen()).collect()
    };
    for checks in ["http", "tcp", "mixed"] {
        let ours = runtime("musterd", 2);
        ours.block_on(measure(checks, &ports, instances, seconds));
        ours.shutdown_timeout(Duration::from_secs(1));
    }
    let ours = runtime("musterd", 2);
    ours.block_on(measure_queue(&ports, instances, seconds));
    ours.shutdown_timeout(Duration::from_secs(1));
    targets.shutdown_timeout(Duration::from_secs(1));
}

fn runtime(name: &str, threads: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Opens a door; there are several, as one queue of new connections is too short for a fleet.
fn listen() -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    socket.bind(any).expect("a free port");
    let listener = socket.listen(4096).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let tasks = TaskTracker::new();
    let serving = tasks.clone();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serving.spawn(answer(stream));
        }
    });
    port
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; 1024];
    while let Ok(1..) = stream.read(&mut request).await {
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

async fn measure(checks: &str, ports: &[u16], instances: u32, seconds: u32) {
    let metrics = Metrics::default();
    let registry = Registry::new(registry::Config::default());
    let client = Client::new(&outbound::Config::default(), &metrics).expect("a client");
    let health = Health::new(
        health::Config::default(),
        registry.clone(),
        client,
        &metrics,
    );
    register(&registry, checks, ports, instances);
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(health.run(stop.clone()));
    tasks.close();
    // The first probe of each is over, and the second has given it its phase.
    sleep(INTERVAL + Duration::from_secs(2)).await;
    let (before, began) = (Seen::of(&metrics.render()), Instant::now());
    sleep(Duration::from_secs(seconds.into())).await;
    let (after, took) = (Seen::of(&metrics.render()), began.elapsed().as_secs_f64());
    stop.cancel();
    tasks.wait().await;
    report(checks, instances, &before, &after, took);
}

/// The same with a whole daemon, whose probes all go through its broker.
async fn measure_queue(ports: &[u16], instances: u32, seconds: u32) {
    let keys = [
        ("http.listen", "127.0.0.1:0"),
        ("broker.listen", "127.0.0.1:0"),
        ("broker.management_listen", ""),
        ("consul.listen", ""),
        ("dns.listen", ""),
        ("transport.events", "direct"),
        ("transport.discovery", "direct"),
        ("transport.health", "queue"),
    ];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let sources = Sources {
        flags: keys.into(),
        ..Sources::default()
    };
    let config = sources.load().expect("a configuration");
    let app = App::start(config).await.expect("a daemon");
    let http = app.http_address().expect("a door");
    register(app.registry(), "mixed", ports, instances);
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        app.run_until(stopped).await.expect("a clean stop");
    });
    tasks.close();
    // The first probes all come within a second, which is more than the queue takes on two cores.
    sleep(3 * INTERVAL).await;
    let (text, began) = (page(http).await, Instant::now());
    let before = Seen::of(&text);
    print_counts("after the start", &text);
    sleep(Duration::from_secs(seconds.into())).await;
    let (text, took) = (page(http).await, began.elapsed().as_secs_f64());
    let after = Seen::of(&text);
    stop.cancel();
    tasks.wait().await;
    report("queue", instances, &before, &after, took);
    print_counts("at the end", &text);
}

/// What became of the requests so far.
fn print_counts(when: &str, text: &str) {
    let wanted = |line: &&str| {
        line.starts_with("musterd_health_requests_total")
            || line.starts_with("musterd_prober_requests_total")
    };
    for line in text.lines().filter(wanted) {
        println!("  {when}: {line}");
    }
}

/// The daemon's metrics.
async fn page(http: SocketAddr) -> String {
    let mut stream = TcpStream::connect(http).await.expect("the door");
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("a page");
    text
}

fn register(registry: &Registry, checks: &str, ports: &[u16], instances: u32) {
    let catalog = Catalog::new(registry.clone());
    for (i, port) in (0..instances).zip(ports.iter().copied().cycle()) {
        let kind = match checks {
            "http" => http(i, port),
            "tcp" => tcp(i, port),
            _ if i % 2 == 0 => http(i, port),
            _ => tcp(i, port),
        };
        let command = Register {
            registration: registration(i, kind),
            incarnation: None,
        };
        let registered = catalog.write(&Caller::by(Door::Embedding), command);
        let registered = registered.now().expect("a journal in memory");
        registered.expect("registered");
    }
}

fn report(checks: &str, instances: u32, before: &Seen, after: &Seen, took: f64) {
    let probes = after.probes - before.probes;
    println!(
        "{checks:<6} {:>10.0} {:>10.0} {:>7.2}% {:>12} {:>12} {:>9.1}% {:>9.1}%",
        probes / took,
        f64::from(instances) / INTERVAL.as_secs_f64(),
        100.0 * (after.passed - before.passed) / probes,
        after.late_within(before, 0.5),
        after.late_within(before, 0.99),
        100.0 * (after.cpu_ours - before.cpu_ours) / took,
        100.0 * (after.cpu_all - before.cpu_all) / took,
    );
}

fn http(i: u32, port: u16) -> CheckKind {
    CheckKind::Http(Box::new(HttpCheck {
        url: format!("http://{}:{port}/health", address(i)).into(),
        method: "GET".into(),
        headers: Box::default(),
        expected: [200..=299].into(),
        tls_skip_verify: false,
        redirects: 0,
    }))
}

fn tcp(i: u32, port: u16) -> CheckKind {
    let host = address(i).to_string().into();
    CheckKind::Tcp { host, port }
}

/// A separate loopback address for each instance.
fn address(i: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + i)
}

fn registration(i: u32, kind: CheckKind) -> Registration {
    let check = Check {
        name: "check".into(),
        kind,
        interval: INTERVAL,
        timeout: Duration::from_secs(2),
        healthy_after: 1,
        unhealthy_after: 3,
        options: None,
    };
    Registration {
        service_id: ServiceId::parse(&format!("instance-{i}")).expect("an id"),
        service_name: ServiceName::parse(&format!("service-{}", i % 200)).expect("a name"),
        host: address(i).to_string().into(),
        port: 80,
        metadata: Metadata::default(),
        health_check_url: None,
        tags: Box::default(),
        version: "1.0.0".into(),
        ttl: Duration::from_secs(300),
        lease: musterd::model::LeaseKind::Ttl,
        weight: 1,
        zone: None,
        checks: [check].into(),
    }
}

/// Counters at one moment.
struct Seen {
    probes: f64,
    passed: f64,
    /// Upper bounds as they are written, and how many probes were not later.
    lateness: Vec<(String, f64)>,
    cpu_ours: f64,
    cpu_all: f64,
}

impl Seen {
    fn of(page: &str) -> Self {
        let (mut probes, mut passed, mut lateness) = (0.0, 0.0, Vec::new());
        for line in page.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let value = value.parse().unwrap_or(0.0);
            if name.starts_with("musterd_health_probes_total") {
                probes += value;
                passed += if name.contains("\"passed\"") {
                    value
                } else {
                    0.0
                };
            } else if name.starts_with("musterd_health_probe_lateness_seconds_bucket") {
                let bound = name.split('"').nth(1).unwrap_or("");
                lateness.push((bound.to_owned(), value));
            }
        }
        let (cpu_ours, cpu_all) = cpu_seconds();
        Self {
            probes,
            passed,
            lateness,
            cpu_ours,
            cpu_all,
        }
    }

    /// The bound within which this share of the probes since `before` began.
    fn late_within(&self, before: &Self, share: f64) -> String {
        let counts = self.lateness.iter().zip(&before.lateness);
        let counts: Vec<_> = counts
            .map(|((bound, now), (_, then))| (bound, now - then))
            .collect();
        let all = counts.last().map_or(0.0, |(_, count)| *count);
        let within = counts.iter().find(|(_, count)| *count >= share * all);
        within.map_or_else(String::new, |(bound, _)| format!("<= {bound}"))
    }
}

/// CPU time of the scheduler's threads, and of all.
fn cpu_seconds() -> (f64, f64) {
    let (mut ours, mut all) = (0.0, 0.0);
    for task in fs::read_dir("/proc/self/task").expect("/proc").flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        // Fields 14 and 15 of the line, user and system time.
        let ticks: f64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|text| text.parse::<f64>().ok())
            .sum();
        all += ticks / TICKS;
        if name.contains("(musterd") {
            ours += ticks / TICKS;
        }
    }
    (ours, all)
}
