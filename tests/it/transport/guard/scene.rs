//! What is the same in every test of the guard: short times, traffic, a watcher, and what a rollback
//! promises.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::super::stage::{PATIENCE, Stage, registration};

/// A window of latencies and failures.
const WINDOW: Duration = Duration::from_millis(500);

/// Times so short that a test takes seconds. What is slow because the machine is busy with other tests
/// breaks no rule: the test that is about a rule sets its limit.
const QUICK: [(&str, &str); 16] = [
    ("transport.mode", "direct"),
    ("health.first_within", "100ms"),
    ("migration.baseline", "1s"),
    ("migration.soak", "100ms"),
    ("migration.canary_interval", "100ms"),
    ("migration.canary_timeout", "20s"),
    ("migration.canary_failures_max", "1.0"),
    ("migration.broker_away", "60s"),
    ("migration.window", "500ms"),
    ("migration.windows", "2"),
    ("migration.samples_min", "10"),
    ("migration.latency_floor", "30s"),
    ("migration.discovery_failures_max", "1.0"),
    ("migration.late_max", "1.0"),
    ("migration.settle_max", "20s"),
    ("migration.lag_max", "1000000"),
];

/// Short times, and the keys of one test.
pub(super) fn quick<'a>(own: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&QUICK, own].concat()
}

/// What is asked of the daemon again and again.
#[derive(Clone, Default)]
pub(super) struct Load {
    /// A registration; none for small ones that each change something.
    pub(super) registration: Option<Arc<str>>,
    /// The path and query of a discovery.
    pub(super) discovery: Option<Arc<str>>,
}

/// Registrations and discoveries, one after the other.
pub(super) struct Traffic {
    load: Arc<Mutex<Load>>,
    enough: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Traffic {
    pub(super) fn start(stage: &Stage) -> Self {
        let mut traffic = Self {
            load: Arc::default(),
            enough: Arc::default(),
            tasks: JoinSet::new(),
        };
        let (load, enough) = (Arc::clone(&traffic.load), Arc::clone(&traffic.enough));
        traffic
            .tasks
            .spawn(register(stage.http.clone(), load, enough));
        let (load, enough) = (Arc::clone(&traffic.load), Arc::clone(&traffic.enough));
        traffic
            .tasks
            .spawn(discover(stage.http.clone(), load, enough));
        traffic
    }

    /// From now on this is asked.
    pub(super) fn ask(&self, load: Load) {
        *self.load.lock() = load;
    }

    /// Ends it; none of its requests may have failed.
    pub(super) async fn stop(mut self) {
        self.enough.store(true, Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

async fn register(http: String, load: Arc<Mutex<Load>>, enough: Arc<AtomicBool>) {
    let client = reqwest::Client::new();
    let mut number = 0;
    while !enough.load(Relaxed) {
        let mut small = registration("traffic", number % 10);
        small["metadata"] = json!({"number": number});
        let wanted = load.lock().registration.clone();
        let body = wanted.map_or_else(|| small.to_string(), |body| body.to_string());
        let asked = client.post(format!("{http}/services/register"));
        assert_eq!(asked.body(body).send().await.unwrap().status(), 200);
        number += 1;
        sleep(Duration::from_millis(5)).await;
    }
}

async fn discover(http: String, load: Arc<Mutex<Load>>, enough: Arc<AtomicBool>) {
    let client = reqwest::Client::new();
    while !enough.load(Relaxed) {
        let wanted = load.lock().discovery.clone();
        let path = wanted.as_deref().unwrap_or("traffic").to_owned();
        let asked = client.get(format!("{http}/services/discover/{path}"));
        assert_eq!(asked.send().await.unwrap().status(), 200);
        sleep(Duration::from_millis(5)).await;
    }
}

/// A watcher of everything, and the migration's notices that it received.
pub(super) struct Watcher {
    received: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Watcher {
    pub(super) async fn new(stage: &Stage) -> Self {
        let received = Arc::<Mutex<Vec<String>>>::default();
        let mut answer = reqwest::get(format!("{}/watch", stage.http)).await.unwrap();
        // Once there is a snapshot nothing is missed.
        let mut text = Vec::from(answer.chunk().await.unwrap().unwrap());
        let notices = Arc::clone(&received);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(Some(chunk)) = answer.chunk().await {
                text.extend_from_slice(&chunk);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<_> = text.drain(..=end).collect();
                    let line = String::from_utf8(line).unwrap();
                    if let Some(json) = line.strip_prefix("data: ")
                        && json.contains("\"event\":\"migration.")
                    {
                        let notice: Value = serde_json::from_str(json).unwrap();
                        assert!(notice["revision"].is_null(), "{notice}");
                        notices
                            .lock()
                            .push(notice["event"].as_str().unwrap().to_owned());
                    }
                }
            }
        });
        Self {
            received,
            _task: task,
        }
    }

    /// Waits until it received this notice `times` times.
    pub(super) async fn until(&self, event: &str, times: usize) {
        let enough = || {
            self.received
                .lock()
                .iter()
                .filter(|one| *one == event)
                .count()
                >= times
        };
        let waited = timeout(PATIENCE, async {
            while !enough() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{event}: {:?}", self.received.lock());
    }
}

/// POST /migration; true when it was taken.
async fn ask(stage: &Stage, body: Value) -> bool {
    let asked = stage.client.post(format!("{}/migration", stage.http));
    let answer = asked.body(body.to_string()).send().await.unwrap();
    answer.status() == 200
}

/// Waits until GET /migration says so.
pub(super) async fn until_report(
    stage: &Stage,
    what: &str,
    said: impl Fn(&Value) -> bool,
) -> Value {
    let deadline = Instant::now() + 2 * PATIENCE;
    loop {
        let report = stage.get("/migration").await;
        if said(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{what}: {report:#}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Migrates step by step until this phase, in which it stays. There must be traffic.
pub(super) async fn migrate_until(stage: &Stage, phase: &str) {
    until_report(stage, "it has looked", |report| report["state"] == "idle").await;
    assert!(ask(stage, json!({"action": "start", "mode": "step"})).await);
    let measured = |report: &Value| {
        let baseline = report["baseline"].as_array().unwrap();
        baseline.len() == 3 && baseline.iter().all(|one| one["p95_ms"].is_number())
    };
    until_report(stage, "the baseline is measured", measured).await;
    let mut now = Value::from("baseline");
    while now != phase {
        // It is refused as long as something is to be waited for.
        if !ask(stage, json!({"action": "advance"})).await {
            let report = stage.get("/migration").await;
            assert_eq!(report["state"], "running", "{report:#}");
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        let report = until_report(stage, "the next phase", |report| report["phase"] != now).await;
        now = report["phase"].clone();
    }
    let report = stage.get("/migration").await;
    assert_eq!(report["rollback"], Value::Null, "{report:#}");
}

pub(super) fn is_direct(report: &Value) -> bool {
    let channels = report["channels"].as_object().unwrap();
    channels.len() == 3 && channels.values().all(|channel| channel["mode"] == "direct")
}

/// Waits until the guard has turned every channel to direct, by this rule. Answers with the figures in its
/// reason behind the words of `figures`.
pub(super) async fn flipped<const N: usize>(
    stage: &Stage,
    rule: &str,
    figures: [&str; N],
) -> [f64; N] {
    stage.until("every channel is direct", is_direct).await;
    let report = stage.get("/migration").await;
    let rollback = &report["rollback"];
    assert_eq!(rollback["rule"], rule, "{report:#}");
    let reason = rollback["reason"].as_str().unwrap();
    figures.map(|words| number_behind(reason, words))
}

fn number_behind(text: &str, words: &str) -> f64 {
    let number = || {
        let (_, rest) = text.split_once(words)?;
        rest.split_whitespace().next()?.parse().ok()
    };
    number().unwrap_or_else(|| panic!("a number behind \"{words}\": {text}"))
}

/// Waits for the end of the rollback: it is verified, and everybody gets the notice.
pub(super) async fn verified(stage: &Stage, watcher: &Watcher, rule: &str) -> Value {
    let over = |report: &Value| {
        report["rollback"]["ended"].is_string() && report["state"] != "rolling_back"
    };
    let report = until_report(stage, "the rollback ends", over).await;
    let rollback = &report["rollback"];
    assert_eq!(rollback["stage"], "verified", "{report:#}");
    assert_eq!(rollback["canary_passed"], true, "{report:#}");
    assert_eq!(rollback["drained"], true, "{report:#}");
    assert!(rollback["flipped_ms"].is_number(), "{report:#}");
    for event in ["migration.rollback_started", "migration.rolled_back"] {
        let named = |list: &Value| {
            let list = list.as_array().unwrap();
            list.iter().filter(|one| one["event"] == event).count()
        };
        assert_eq!(named(&report["history"]), 1, "{report:#}");
        assert_eq!(named(&report["notices"]), 1, "{report:#}");
        watcher.until(event, 1).await;
    }
    assert_eq!(rollbacks(stage, rule).await, 1);
    report
}

/// How often this rule has rolled back.
pub(super) async fn rollbacks(stage: &Stage, rule: &str) -> usize {
    let page = stage.client.get(format!("{}/metrics", stage.http)).send();
    let page = page.await.unwrap().text().await.unwrap();
    let name = format!("musterd_migration_rollbacks_total{{rule=\"{rule}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |number| number.parse().unwrap())
}

/// It stays direct for much longer than the guard takes to say something.
pub(super) async fn stays_direct(stage: &Stage, rule: &str) {
    let since = Instant::now();
    while since.elapsed() < 8 * WINDOW {
        let report = stage.transport().await;
        assert!(is_direct(&report), "{report:#}");
        sleep(Duration::from_millis(50)).await;
    }
    let report = stage.get("/migration").await;
    assert_eq!(report["state"], "rolled_back", "{report:#}");
    assert_eq!(report["return"]["by_itself"], false, "{report:#}");
    assert_eq!(rollbacks(stage, rule).await, 1);
}

/// The figures of the last step of this name.
pub(super) fn figure_of(report: &Value, event: &str, name: &str) -> f64 {
    let history = report["history"].as_array().unwrap();
    let step = history.iter().rfind(|step| step["event"] == event);
    let figure = step.and_then(|step| step["figures"][name].as_f64());
    figure.unwrap_or_else(|| panic!("{name} with {event}: {report:#}"))
}
