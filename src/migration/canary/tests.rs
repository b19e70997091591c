use std::{collections::VecDeque, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{CanaryRun, Times, run_canary};
use crate::{
    migration::{CanaryWatch, CanaryWay, StepError},
    model::EventKind,
    registry::{self, Registry},
};

const TIMES: Times = Times {
    step: Duration::from_secs(2),
    probe: Duration::from_secs(3),
};

/// Fake access to the registry: one step hangs or fails, and its watch sends `changes`.
#[derive(Debug, Default)]
struct Way {
    hangs: &'static str,
    fails: &'static str,
    changes: Vec<(EventKind, u64)>,
    cleaned: Mutex<u32>,
}

impl Way {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async move {
            if self.hangs == name {
                std::future::pending::<()>().await;
            }
            if self.fails == name {
                return Err("broken".to_owned());
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct ScriptedWatch(VecDeque<(EventKind, u64)>);

impl CanaryWatch for ScriptedWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<(EventKind, u64), StepError>> {
        Box::pin(async {
            match self.0.pop_front() {
                Some(found) => Ok(found),
                None => std::future::pending().await,
            }
        })
    }
}

impl CanaryWay for Way {
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, StepError> {
        Ok(Box::new(ScriptedWatch(self.changes.clone().into())))
    }

    fn register(&self) -> BoxFuture<'_, Result<(), StepError>> {
        self.step("register")
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), StepError>> {
        self.step("probe")
    }

    fn discover(&self) -> BoxFuture<'_, Result<(), StepError>> {
        self.step("discover")
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), StepError>> {
        self.step("deregister")
    }

    fn clean(&self) {
        *self.cleaned.lock() += 1;
    }
}

fn all() -> Vec<(EventKind, u64)> {
    vec![
        (EventKind::Registered, 4),
        (EventKind::Healthy, 7),
        (EventKind::Deregistered, 8),
    ]
}

async fn unjudged(way: &Way) -> CanaryRun {
    let registry = Registry::new(registry::Config::default());
    let canary_run = run_canary(way, TIMES, registry.clock()).await;
    assert_eq!(*way.cleaned.lock(), 2, "before and after");
    canary_run
}

#[tokio::test(start_paused = true)]
async fn each_step_has_its_own_verdict_and_its_own_time() {
    let good = unjudged(&Way {
        changes: all(),
        ..Way::default()
    })
    .await;
    assert!(good.passed(), "{good:?}");
    let names: Vec<_> = good.steps.iter().map(|step| step.name).collect();
    assert_eq!(
        names,
        ["register", "probe", "discover", "deregister", "watch"]
    );
    for (name, error) in [("probe", "not within 3s"), ("discover", "not within 2s")] {
        let late = unjudged(&Way {
            hangs: name,
            changes: all(),
            ..Way::default()
        })
        .await;
        assert_eq!(late.failed_step(), Some((name, error)));
        assert_eq!(late.steps.len(), 5, "the others have their own");
    }
    let none = unjudged(&Way {
        fails: "register",
        ..Way::default()
    })
    .await;
    assert_eq!(none.failed_step(), Some(("register", "broken")));
    assert_eq!(none.steps.len(), 1, "without it there is nothing to try");
}

#[tokio::test(start_paused = true)]
async fn the_canarys_watch_must_see_each_change_once_and_in_order() {
    let cases = [
        (vec![(EventKind::Registered, 4)], "not within 2s"),
        (
            vec![(EventKind::Registered, 4), (EventKind::Registered, 4)],
            "change 4 came after 4",
        ),
        (
            vec![(EventKind::Deregistered, 9)],
            "it was deregistered before it was registered",
        ),
    ];
    for (changes, error) in cases {
        let canary_run = unjudged(&Way {
            changes,
            ..Way::default()
        })
        .await;
        assert_eq!(canary_run.failed_step(), Some(("watch", error)));
    }
}
