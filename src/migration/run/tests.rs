//! The loop on a paused clock, over a flag and a canary that a test makes up.

mod noise;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Migration, Needs};
use crate::{
    api::{
        Comparison, MigrationAction, MigrationDraft, TransportBroker, TransportChannel,
        TransportReport,
    },
    migration::{
        CanaryWatch, CanaryWay, Config, FlagControl, GuardSetting, MigrationRow, NoRow, StepError,
    },
    model::{Channel, EventKind, FlagError, FlagState, Mode, Modes, Timestamp},
    registry::{self, Lost, Notices, Registry},
    telemetry::Metrics,
};

#[derive(Debug)]
struct Flag {
    flag: watch::Sender<FlagState>,
    silent: Mutex<Option<tokio::time::Instant>>,
    compared: Mutex<u64>,
    /// Commands over the broker that were answered, and that failed.
    commands: Mutex<(u64, u64)>,
}

impl FlagControl for Flag {
    fn report(&self) -> TransportReport {
        let mut compared = self.compared.lock();
        *compared += 1;
        let modes = self.flag().modes;
        let (sent, failed) = *self.commands.lock();
        let channel = |channel| TransportChannel {
            channel,
            mode: modes.of(channel),
            cursor: None,
            lag: None,
            sent,
            failed,
            comparison: Comparison {
                compared: *compared,
                ..Comparison::default()
            },
        };
        TransportReport {
            channels: Channel::ALL.into_iter().map(channel).collect(),
            broker: TransportBroker {
                kind: "embedded",
                url: String::new(),
                state: "up",
                silent: self.silent.lock().map(|since| since.elapsed()),
                since: Timestamp(0),
                error: None,
                connections: 1,
                dead_letters: 0,
                answers_lost: 0,
            },
            direct: true,
            timestamp: Timestamp(0),
        }
    }

    fn flag(&self) -> FlagState {
        *self.flag.borrow()
    }

    fn follow(&self) -> watch::Receiver<FlagState> {
        self.flag.subscribe()
    }

    fn set(&self, modes: Modes, only_if: Option<u64>) -> BoxFuture<'_, Result<u64, FlagError>> {
        Box::pin(async move {
            sleep(Duration::from_millis(20)).await;
            let version = self.flag().version;
            if only_if.is_some_and(|wanted| wanted != version) {
                return Err(FlagError::Changed);
            }
            let version = version + 1;
            self.flag.send_replace(FlagState { modes, version });
            Ok(version)
        })
    }

    fn settled(&self, _: Duration) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// Every step passes at once, but for a registration that fails after a while.
#[derive(Debug, Default)]
struct Clear {
    stumbles_after: Option<Duration>,
}

#[derive(Debug)]
struct Seen(u64);

impl CanaryWatch for Seen {
    fn next(&mut self) -> BoxFuture<'_, Result<(EventKind, u64), StepError>> {
        self.0 += 1;
        let kind = match self.0 {
            1 => EventKind::Registered,
            _ => EventKind::Deregistered,
        };
        Box::pin(std::future::ready(Ok((kind, self.0))))
    }
}

fn passed() -> BoxFuture<'static, Result<(), StepError>> {
    Box::pin(std::future::ready(Ok(())))
}

impl CanaryWay for Clear {
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, StepError> {
        Ok(Box::new(Seen(0)))
    }

    fn register(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async {
            let Some(after) = self.stumbles_after else {
                return Ok(());
            };
            sleep(after).await;
            Err("nobody answers".to_owned())
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StepError>> {
        passed()
    }

    fn discover(&self) -> BoxFuture<'_, Result<(), StepError>> {
        passed()
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), StepError>> {
        passed()
    }

    fn clean(&self) {}
}

struct Stage {
    migration: Migration,
    flag: Arc<Flag>,
    notices: Arc<Notices>,
    metrics: Metrics,
}

fn stage(modes: Modes) -> Stage {
    stage_with(modes, Config::default(), Arc::new(Clear::default()))
}

fn stage_with(modes: Modes, config: Config, canary: Arc<dyn CanaryWay>) -> Stage {
    let flagged = FlagState { modes, version: 1 };
    stage_of(flagged, config, canary, Arc::new(NoRow), None)
}

fn stage_of(
    flagged: FlagState,
    config: Config,
    canary: Arc<dyn CanaryWay>,
    row: Arc<dyn MigrationRow>,
    stored: Option<&[u8]>,
) -> Stage {
    let registry = Registry::new(registry::Config::default());
    let flag = Arc::new(Flag {
        flag: watch::Sender::new(flagged),
        silent: Mutex::default(),
        compared: Mutex::default(),
        commands: Mutex::default(),
    });
    let notices = Arc::new(Notices::new(3));
    let metrics = Metrics::default();
    let needs = Needs {
        registry,
        transports: Arc::<Flag>::clone(&flag),
        canary,
        first_probe_within: Duration::from_secs(1),
        metrics: metrics.clone(),
        notices: Arc::clone(&notices),
        row,
    };
    Stage {
        migration: Migration::open(config, needs, stored).unwrap(),
        flag,
        notices,
        metrics,
    }
}

async fn during(stage: &Stage, test: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let running = stage.migration.clone().run(stop.clone());
    tokio::join!(running, async {
        test.await;
        stop.cancel();
    });
}

#[tokio::test(start_paused = true)]
async fn a_canary_run_during_a_flag_change_does_not_count() {
    let config = Config {
        guard: GuardSetting::Always,
        ..Config::default()
    };
    for (turned, runs) in [(false, 1), (true, 0)] {
        let canary = Arc::new(Clear {
            stumbles_after: Some(Duration::from_secs(1)),
        });
        let stage = stage_with(Modes::all(Mode::Dual), config.clone(), canary);
        during(&stage, async {
            sleep(Duration::from_millis(500)).await;
            if turned {
                let modes = Modes::all(Mode::Queue);
                stage.flag.set(modes, None).await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        let canary = stage.migration.report().canary;
        assert_eq!((canary.runs, canary.failures), (runs, runs), "{turned}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_migration_publishes_every_step() {
    let stage = stage(Modes::all(Mode::Direct));
    during(&stage, async {
        sleep(Duration::from_millis(300)).await;
        let start = MigrationDraft {
            action: MigrationAction::Start,
            mode: None,
            soak: None,
        };
        stage.migration.ask(start).unwrap();
        assert_eq!(stage.migration.report().state, "running");
        let latencies = stage.metrics.latencies();
        for latency in [
            &latencies.register,
            &latencies.discover,
            &latencies.delivery,
        ] {
            (0..30).for_each(|_| latency.observe(Duration::from_millis(1)));
        }
        sleep(Duration::from_secs(8 * 60)).await;
    })
    .await;
    assert_eq!(stage.flag.flag().modes, Modes::all(Mode::Queue));
    let report = stage.migration.report();
    assert_eq!(report.state, "completed");
    assert!(report.canary.runs >= 7 * 60 / 5, "{}", report.canary.runs);
    assert!(!report.canary.active);
    // Started, six phases, completed; three are kept.
    assert_eq!(stage.notices.newest(), 8);
    assert_eq!(stage.notices.since(0).len(), 3);
    let news = stage.notices.since(7);
    assert_eq!(news[0].event, "migration.completed");
    let json: serde_json::Value = serde_json::from_slice(&news[0].json).unwrap();
    assert_eq!(json["event"], "migration.completed");
    assert!(json["revision"].is_null());
    let page = stage.metrics.render();
    assert!(page.contains("musterd_migration_state{state=\"completed\"} 1"));
    assert!(page.contains("musterd_migration_steps_total{event=\"migration.phase\"} 6"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_broker_is_direct_within_ten_seconds_and_two() {
    let stage = stage(Modes::all(Mode::Dual));
    during(&stage, async {
        sleep(Duration::from_secs(5)).await;
        let lost = tokio::time::Instant::now();
        *stage.flag.silent.lock() = Some(lost);
        let mut flag = stage.flag.follow();
        flag.wait_for(|flagged| !flagged.modes.use_broker())
            .await
            .unwrap();
        let took = lost.elapsed();
        assert!(took > Duration::from_secs(10), "{took:?}");
        assert!(took < Duration::from_secs(12), "{took:?}");
        *stage.flag.silent.lock() = None;
        sleep(Duration::from_secs(30)).await;
    })
    .await;
    let report = stage.migration.report();
    assert_eq!(report.rollback.unwrap().stage, "verified");
    let page = stage.metrics.render();
    assert!(page.contains("musterd_migration_rollbacks_total{rule=\"broker_away\"} 1"));
}

/// Rows in memory; some commits fail.
#[derive(Debug, Default)]
struct Row {
    saved: Mutex<Option<Vec<u8>>>,
    failures: Mutex<u32>,
}

impl MigrationRow for Row {
    fn save(&self, row: Vec<u8>) -> BoxFuture<'static, Result<(), Lost>> {
        let mut failures = self.failures.lock();
        if *failures > 0 {
            *failures -= 1;
            return Box::pin(std::future::ready(Err(Lost::NoSpace)));
        }
        *self.saved.lock() = Some(row);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_is_stored_also_after_a_full_disk_and_the_next_run_continues() {
    let row = Arc::new(Row::default());
    *row.failures.lock() = 3;
    let flagged = FlagState {
        modes: Modes::all(Mode::Dual),
        version: 4,
    };
    let canary = || Arc::new(Clear::default());
    let first = stage_of(flagged, Config::default(), canary(), row.clone(), None);
    during(&first, async {
        sleep(Duration::from_millis(10)).await;
        let start = MigrationDraft {
            action: MigrationAction::Start,
            mode: None,
            soak: None,
        };
        first.migration.ask(start).unwrap();
        sleep(Duration::from_secs(2)).await;
    })
    .await;
    let stored = row.saved.lock().take().unwrap();
    let second = stage_of(flagged, Config::default(), canary(), row, Some(&stored));
    let report = second.migration.report();
    assert_eq!((report.state, report.phase), ("running", Some("baseline")));
    assert_eq!(report.history.last().unwrap().event, "migration.resumed");
}
