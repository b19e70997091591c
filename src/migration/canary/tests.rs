use std::{collections::VecDeque, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Flight, Times, fly};
use crate::{
    migration::{CanaryWatch, CanaryWay, Stumble},
    model::EventKind,
    registry::{self, Registry},
};

const TIMES: Times = Times {
    step: Duration::from_secs(2),
    probe: Duration::from_secs(3),
};

/// A way on which one step hangs or fails, and what its watch tells.
#[derive(Debug, Default)]
struct Way {
    hangs: &'static str,
    fails: &'static str,
    tells: Vec<(EventKind, u64)>,
    cleaned: Mutex<u32>,
}

impl Way {
    fn step(&self, name: &'static str) -> BoxFuture<'_, Result<(), Stumble>> {
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
struct Told(VecDeque<(EventKind, u64)>);

impl CanaryWatch for Told {
    fn next(&mut self) -> BoxFuture<'_, Result<(EventKind, u64), Stumble>> {
        Box::pin(async {
            match self.0.pop_front() {
                Some(told) => Ok(told),
                None => std::future::pending().await,
            }
        })
    }
}

impl CanaryWay for Way {
    fn watch(&self) -> Result<Box<dyn CanaryWatch>, Stumble> {
        Ok(Box::new(Told(self.tells.clone().into())))
    }

    fn register(&self) -> BoxFuture<'_, Result<(), Stumble>> {
        self.step("register")
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), Stumble>> {
        self.step("probe")
    }

    fn discover(&self) -> BoxFuture<'_, Result<(), Stumble>> {
        self.step("discover")
    }

    fn deregister(&self) -> BoxFuture<'_, Result<(), Stumble>> {
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

async fn flown(way: &Way) -> Flight {
    let registry = Registry::new(registry::Config::default());
    let flight = fly(way, TIMES, registry.clock()).await;
    assert_eq!(*way.cleaned.lock(), 2, "before and after");
    flight
}

#[tokio::test(start_paused = true)]
async fn each_step_has_its_own_verdict_and_its_own_time() {
    let good = flown(&Way {
        tells: all(),
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
        let late = flown(&Way {
            hangs: name,
            tells: all(),
            ..Way::default()
        })
        .await;
        assert_eq!(late.stumble(), Some((name, error)));
        assert_eq!(late.steps.len(), 5, "the others have their own");
    }
    let none = flown(&Way {
        fails: "register",
        ..Way::default()
    })
    .await;
    assert_eq!(none.stumble(), Some(("register", "broken")));
    assert_eq!(none.steps.len(), 1, "without it there is nothing to try");
}

#[tokio::test(start_paused = true)]
async fn the_watch_must_tell_all_once_and_in_order() {
    let cases = [
        (vec![(EventKind::Registered, 4)], "not within 2s"),
        (
            vec![(EventKind::Registered, 4), (EventKind::Registered, 4)],
            "change 4 came after 4",
        ),
        (
            vec![(EventKind::Deregistered, 9)],
            "it left without having come",
        ),
    ];
    for (tells, error) in cases {
        let flight = flown(&Way {
            tells,
            ..Way::default()
        })
        .await;
        assert_eq!(flight.stumble(), Some(("watch", error)));
    }
}
