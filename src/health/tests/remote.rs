//! Probes that go to probers elsewhere, who are played by the tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{Daemon, http, nobody, quick, registration, start, tcp};
use crate::{
    api::{CheckRequest, CheckVerdict},
    health::{Config, Outcome, RemoteProber, RequestResult, VerdictUse},
    model::{Check, Mode, ServiceId, Status, Timestamp},
    outbound::testing::Target,
};

/// A request as the far side sees it.
#[derive(Clone, Debug)]
struct Seen {
    number: u64,
    service_id: ServiceId,
    incarnation: u64,
    check: Check,
    deadline: Timestamp,
    left: Duration,
}

impl Seen {
    fn found(&self, outcome: Outcome) -> CheckVerdict {
        CheckVerdict {
            service_id: self.service_id.clone(),
            incarnation: self.incarnation,
            check: self.check.name.clone(),
            outcome,
            latency: Duration::from_millis(3),
            at: None,
            message: "from elsewhere".into(),
        }
    }
}

#[derive(Debug)]
struct Fake {
    mode: Mutex<Mode>,
    up: AtomicBool,
    asked: mpsc::Sender<Seen>,
    notes: Mutex<Vec<RequestResult>>,
}

impl RemoteProber for Fake {
    fn mode(&self) -> Mode {
        *self.mode.lock()
    }

    fn ask(&self, number: u64, request: &CheckRequest<'_>, left: Duration) -> bool {
        let seen = Seen {
            number,
            service_id: request.service_id.clone(),
            incarnation: request.incarnation,
            check: request.check.clone().into_owned(),
            deadline: request.deadline,
            left,
        };
        self.up.load(Ordering::SeqCst) && self.asked.try_send(seen).is_ok()
    }

    fn note(&self, ended: RequestResult) {
        self.notes.lock().push(ended);
    }
}

impl Fake {
    fn count(&self, of: RequestResult) -> usize {
        self.notes.lock().iter().filter(|note| **note == of).count()
    }
}

fn elsewhere(config: Config, mode: Mode) -> (Daemon, Arc<Fake>, mpsc::Receiver<Seen>) {
    let daemon = start(config);
    let (asked, requests) = mpsc::channel(1000);
    let fake = Arc::new(Fake {
        mode: Mutex::new(mode),
        up: AtomicBool::new(true),
        asked,
        notes: Mutex::default(),
    });
    daemon.health.use_remote_probers(fake.clone());
    (daemon, fake, requests)
}

/// A check of a closed port: only a verdict from the fake prober can pass it.
fn closed(name: &str) -> Check {
    Check {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        unhealthy_after: 1,
        options: None,
        ..http(name, "http://127.0.0.1:1/".to_owned())
    }
}

fn requests_total(daemon: &Daemon, result: &str) -> f64 {
    let name = format!("musterd_health_requests_total{{result=\"{result}\"}}");
    daemon.metric(&name).unwrap_or(0.0)
}

#[tokio::test(start_paused = true)]
async fn in_mode_queue_the_remote_prober_decides() {
    let (daemon, fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    daemon.register("i", &[closed("web")]);
    let asked = requests.recv().await.expect("a request");
    let instance = daemon.registry.instance("i").expect("known");
    assert_eq!(
        (asked.service_id.as_str(), &*asked.check.name),
        ("i", "web")
    );
    assert_eq!(asked.incarnation, instance.incarnation);
    assert_eq!(
        asked.left,
        Duration::from_secs(3),
        "the timeout and the wait"
    );
    let now = daemon.registry.clock().now().wall;
    assert_eq!(asked.deadline, Timestamp(now.0 + 3_000));
    sleep(Duration::from_millis(700)).await;
    let taken = daemon.health.take(asked.found(Outcome::Passed), None);
    assert_eq!(taken, VerdictUse::Used);
    daemon.until("i", Status::Healthy).await;
    let report = daemon.health.report("i").expect("known");
    let result = &report.checks[0].results[0];
    assert_eq!(&*result.message, "from elsewhere");
    assert_eq!(result.latency, Duration::from_millis(3));
    assert_eq!(
        daemon.health.take(asked.found(Outcome::Failed), None),
        VerdictUse::Unasked
    );
    let again = requests.recv().await.expect("the next one");
    assert!(again.number > asked.number);
    let late = asked.found(Outcome::Passed);
    assert_eq!(
        daemon.health.take(late, Some(asked.number)),
        VerdictUse::Unasked,
        "an earlier one"
    );
    daemon.health.take(again.found(Outcome::TimedOut), None);
    daemon.until("i", Status::Unhealthy).await;
    assert_eq!(daemon.reason("i"), "check \"web\": from elsewhere");
    assert_eq!(fake.count(RequestResult::Answered), 2);
    assert_eq!(requests_total(&daemon, "answered"), 2.0);
    assert_eq!(daemon.metric("musterd_health_requests_pending"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn a_url_in_short_form_is_asked_in_full() {
    let (daemon, _fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    let mut short = registration("i", &[]);
    short.health_check_url = Some("http://127.0.0.1:1/up".into());
    daemon.registry.register(short, None).expect("registered");
    let asked = requests.recv().await.expect("a request");
    assert_eq!(&*asked.check.name, "health_check_url");
    assert_eq!(asked.check.timeout, Duration::from_secs(5));
    assert_eq!(
        daemon.health.take(asked.found(Outcome::Passed), None),
        VerdictUse::Used
    );
}

#[tokio::test(start_paused = true)]
async fn the_daemon_probes_itself_without_an_answer_in_time() {
    let (daemon, fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    let down = nobody().await;
    let mut check = tcp(down);
    check.timeout = Duration::from_secs(2);
    check.unhealthy_after = 1;
    daemon.register("i", &[check]);
    let asked = requests.recv().await.expect("a request");
    let began = Instant::now();
    daemon.until("i", Status::Unhealthy).await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(3_500), "{waited:?}");
    assert!(waited < Duration::from_millis(4_000), "{waited:?}");
    assert_eq!(fake.count(RequestResult::Unanswered), 1);
    assert_eq!(requests_total(&daemon, "unanswered"), 1.0);
    assert_eq!(
        daemon.health.take(asked.found(Outcome::Passed), None),
        VerdictUse::Unasked,
        "too late"
    );
    assert_eq!(daemon.observed("i"), Status::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn without_a_way_or_when_it_is_cut_off_the_daemon_probes_at_once() {
    let (daemon, fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    let down = nobody().await;
    let failing = || {
        let mut check = tcp(down);
        check.unhealthy_after = 1;
        [check]
    };
    daemon.register("cut", &failing());
    requests.recv().await.expect("a request");
    let began = Instant::now();
    daemon.health.cut_off();
    daemon.until("cut", Status::Unhealthy).await;
    daemon.register("unsent", &failing());
    let asked = requests.recv().await.expect("a request");
    daemon.health.unsent(asked.number);
    daemon.until("unsent", Status::Unhealthy).await;
    fake.up.store(false, Ordering::SeqCst);
    daemon.register("down", &failing());
    daemon.until("down", Status::Unhealthy).await;
    let waited = began.elapsed();
    // Three that waited for their deadlines would take three times as long.
    assert!(waited < Duration::from_secs(4), "{waited:?}");
    assert_eq!(requests_total(&daemon, "cut_off"), 2.0);
    assert!(requests_total(&daemon, "unsent") >= 1.0);
}

#[tokio::test(start_paused = true)]
async fn verdicts_about_removed_instances_change_nothing() {
    let (daemon, _fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    daemon.register("i", &[closed("web")]);
    let old = requests.recv().await.expect("a request");
    // The same registration by another process: the check stays, the incarnation does not.
    daemon.register("i", &[closed("web")]);
    assert_eq!(
        daemon.health.take(old.found(Outcome::Passed), None),
        VerdictUse::Gone
    );
    let passed = "musterd_health_probes_total{kind=\"http\",outcome=\"failed\"}";
    while daemon.metric(passed).is_none() {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(daemon.observed("i"), Status::Unhealthy, "it probed itself");
    assert_eq!(requests_total(&daemon, "gone"), 1.0);

    let mut stranger = old.clone();
    stranger.service_id = ServiceId::parse("stranger").unwrap();
    assert_eq!(
        daemon.health.take(stranger.found(Outcome::Passed), None),
        VerdictUse::Gone
    );
    let current = requests.recv().await.expect("the next turn");
    let mut other = current.clone();
    other.check.name = "other".into();
    assert_eq!(
        daemon.health.take(other.found(Outcome::Passed), None),
        VerdictUse::Unasked
    );
    daemon.registry.deregister("i", None).expect("known");
    assert_eq!(
        daemon.health.take(current.found(Outcome::Passed), None),
        VerdictUse::Gone
    );
    let gone = daemon.metric("musterd_health_verdicts_total{result=\"gone\"}");
    assert_eq!(gone, Some(3.0));
}

#[tokio::test(start_paused = true)]
async fn a_changed_check_of_the_same_name_takes_no_answer_to_the_old_one() {
    let (daemon, _fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    daemon.register("i", &[closed("web")]);
    let old = requests.recv().await.expect("a request");
    let incarnation = Some(old.incarnation);
    let mut changed = closed("web");
    changed.timeout = Duration::from_secs(1);
    let changed = registration("i", &[changed]);
    daemon
        .registry
        .register(changed, incarnation)
        .expect("registered");
    let new = requests.recv().await.expect("a request for the new one");
    let named = old.found(Outcome::Passed);
    assert_eq!(
        daemon.health.take(named, Some(old.number)),
        VerdictUse::Unasked
    );
    assert_eq!(daemon.observed("i"), Status::Starting);
    assert_eq!(
        daemon.health.take(new.found(Outcome::Passed), None),
        VerdictUse::Used
    );
    daemon.until("i", Status::Healthy).await;
}

#[tokio::test(start_paused = true)]
async fn a_skipped_probe_gives_no_verdict() {
    let (daemon, fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    daemon.register("i", &[closed("web")]);
    let asked = requests.recv().await.expect("a request");
    daemon.health.take(asked.found(Outcome::Skipped), None);
    daemon.until("i", Status::Unhealthy).await;
    assert_eq!(requests_total(&daemon, "skipped"), 1.0);
    assert_eq!(fake.count(RequestResult::Unanswered), 0);
}

#[tokio::test]
async fn the_direct_outcome_decides_in_mode_dual_and_both_are_compared() {
    let config = Config {
        queue_wait: Duration::from_millis(100).into(),
        queue_grace: Duration::from_millis(50).into(),
        ..quick()
    };
    let (daemon, fake, mut requests) = elsewhere(config, Mode::Dual);
    let up = Target::always(200).await;
    let mut check = http("web", up.url("/"));
    check.timeout = Duration::from_millis(100);
    daemon.register("i", &[check]);
    let asked = requests.recv().await.expect("a request");
    daemon.until("i", Status::Healthy).await;
    daemon.health.take(asked.found(Outcome::Failed), None);
    assert_eq!(fake.count(RequestResult::Different), 1);
    assert_eq!(
        daemon.observed("i"),
        Status::Healthy,
        "the direct one decides"
    );
    let asked = requests.recv().await.expect("a request");
    daemon.health.take(asked.found(Outcome::Passed), None);
    while fake.count(RequestResult::Same) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    // From here on nobody answers.
    while fake.count(RequestResult::Missing) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.count(RequestResult::Different), 1);
    assert_eq!(daemon.observed("i"), Status::Healthy);
    let missing = daemon.metric("musterd_health_comparisons_total{result=\"missing\"}");
    assert!(missing >= Some(2.0), "{missing:?}");
}

#[tokio::test(start_paused = true)]
async fn the_mode_is_read_for_each_probe() {
    let (daemon, fake, mut requests) = elsewhere(Config::default(), Mode::Direct);
    daemon.register("i", &[closed("web")]);
    daemon.until("i", Status::Unhealthy).await;
    assert!(requests.try_recv().is_err());
    *fake.mode.lock() = Mode::Queue;
    let health = daemon.health.clone();
    let answered = async {
        let asked = requests.recv().await.expect("a request");
        health.take(asked.found(Outcome::Passed), None);
    };
    let (report, ()) = tokio::join!(daemon.health.check_now("i"), answered);
    assert_eq!(report.expect("known").status, Status::Healthy);
    *fake.mode.lock() = Mode::Direct;
    daemon.until("i", Status::Unhealthy).await;
    assert!(requests.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_ttl_check_never_leaves() {
    let (daemon, _fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    let beat = Check {
        interval: Duration::from_secs(10),
        ..super::check("beat", crate::model::CheckKind::Ttl)
    };
    daemon.register("i", &[beat]);
    daemon.until("i", Status::Healthy).await;
    daemon.health.check_now("i").await.expect("known");
    daemon.until("i", Status::Unhealthy).await;
    assert!(requests.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_open_requests() {
    let (mut daemon, _fake, mut requests) = elsewhere(Config::default(), Mode::Queue);
    daemon.register("i", &[closed("web")]);
    requests.recv().await.expect("a request");
    assert_eq!(daemon.metric("musterd_health_requests_pending"), Some(1.0));
    daemon.stopped().await;
    assert_eq!(daemon.metric("musterd_health_requests_pending"), Some(0.0));
}
