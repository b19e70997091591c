//! Canaries that fail over the broker: somebody else takes what is the daemon's, and never answers.

use futures_util::StreamExt;
use lapin::{
    Connection,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    super::stage::{Stage, connect},
    scene::{
        Traffic, Watcher, figure_of, flipped, is_direct, migrate_until, quick, rollbacks,
        stays_direct, until_report, verified,
    },
};

const RULE: &str = "canary_failures";

const STRICT: [(&str, &str); 3] = [
    ("migration.canary_failures_max", "0.2"),
    ("migration.canary_runs", "10"),
    ("migration.canary_timeout", "2s"),
];

/// Takes three of four messages of a queue and does nothing with them.
struct Thief {
    _connection: Connection,
    _tasks: JoinSet<()>,
}

impl Thief {
    async fn of(stage: &Stage, queue: &str) -> Self {
        let connection = connect(&stage.amqp).await;
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            let channel = connection.create_channel().await.unwrap();
            let qos = channel.basic_qos(1, BasicQosOptions::default());
            qos.await.unwrap();
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let table = FieldTable::default();
            let taken = channel.basic_consume(queue.into(), "".into(), options, table);
            let mut taken = taken.await.unwrap();
            tasks.spawn(async move {
                // The channel is open as long as somebody has it.
                let _channel = channel;
                while taken.next().await.is_some() {}
            });
        }
        Self {
            _connection: connection,
            _tasks: tasks,
        }
    }
}

/// How often the last runs failed, and how many runs those are.
async fn fails(stage: &Stage, phase: &str, step: &str) -> [f64; 2] {
    let failed = |report: &Value| {
        let steps = report["canary"]["steps"].as_array().unwrap();
        let mut steps = steps.iter();
        steps.any(|one| one["name"] == step && one["error"].is_string())
    };
    let report = until_report(stage, "the canary fails", failed).await;
    assert_eq!(report["phase"], phase, "{report:#}");
    let figures = flipped(stage, RULE, ["", " of the last "]).await;
    // The link was up all the time.
    let report = stage.transport().await;
    assert_eq!(report["broker"]["connections"], 1, "{report:#}");
    figures
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_that_a_broken_prober_takes() {
    let stage = Stage::start(&quick(&STRICT)).await;
    let watcher = Watcher::new(&stage).await;
    let traffic = Traffic::start(&stage);
    migrate_until(&stage, "health queue").await;
    let _thief = Thief::of(&stage, "health.check.request").await;
    let [failed, runs] = fails(&stage, "health queue", "probe").await;
    assert!(failed > 0.2 * runs, "{failed} of {runs}");
    let report = verified(&stage, &watcher, RULE).await;
    let reported = figure_of(&report, "migration.rollback_started", "canary_failures");
    assert!((reported - failed / runs).abs() < 0.001, "{reported}");
    stays_direct(&stage, RULE).await;
    traffic.stop().await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_another_daemon_takes_and_a_return_that_does_not_become_a_loop() {
    let returns = [
        ("migration.return", "auto"),
        ("migration.returns_max", "1"),
        ("migration.cool_down", "1s"),
    ];
    let stage = Stage::start(&quick(&[&STRICT[..], &returns].concat())).await;
    let watcher = Watcher::new(&stage).await;
    let traffic = Traffic::start(&stage);
    migrate_until(&stage, "discovery dual").await;
    let _thief = Thief::of(&stage, "service.discover").await;
    let [failed, runs] = fails(&stage, "discovery dual", "discover").await;
    assert!(failed > 0.2 * runs, "{failed} of {runs}");
    watcher.until("migration.rolled_back", 1).await;
    // The broker is there, so it continues where it was; and fails there again, once.
    watcher.until("migration.returned", 1).await;
    watcher.until("migration.rolled_back", 2).await;
    let stays = |report: &Value| report["return"]["by_itself"] == false;
    let report = until_report(&stage, "it gives up", stays).await;
    assert_eq!(report["return"]["returns"], 1, "{report:#}");
    assert_eq!(report["state"], "rolled_back", "{report:#}");
    assert_eq!(report["rollback"]["stage"], "verified", "{report:#}");
    assert_eq!(report["rollback"]["canary_passed"], true, "{report:#}");
    assert_eq!(rollbacks(&stage, RULE).await, 2);
    assert!(is_direct(&stage.transport().await));
    traffic.stop().await;
    stage.until_called().await;
    stage.stop().await;
}
