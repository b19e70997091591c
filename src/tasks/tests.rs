use std::{
    future::{pending, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{STAGES, Stage, StopError, Tasks};

const GRACE: Duration = Duration::from_secs(10);

#[test]
fn the_parts_of_all_stages_together_are_the_grace_period() {
    let parts = STAGES.map(|stage| stage.part_of(GRACE));
    assert_eq!(parts.iter().sum::<Duration>(), GRACE);
    for stage in STAGES {
        let long = stage.patience(GRACE, Duration::from_secs(60));
        assert!(long < stage.part_of(GRACE), "{stage:?}");
        let short = Duration::from_millis(7);
        assert_eq!(stage.patience(GRACE, short), short);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_stage_uses_its_part_of_the_grace_period_only() {
    let (tx, mut rx) = tokio::sync::mpsc::channel(8);
    let mut tasks = Tasks::default();
    tasks.spawn(Stage::Source, "a hung source", |_| pending());
    tasks.spawn(Stage::Carrier, "a hung carrier", |_| pending());
    tasks.spawn(Stage::Sink, "a sink", move |stop| async move {
        stop.cancelled().await;
        let _ = tx.send(Instant::now()).await;
    });
    let began = Instant::now();
    let ended = tasks.run_until(ready(()), GRACE).await;
    assert_eq!(ended, Err(StopError::Overdue("a hung source")));
    let asked = rx.recv().await.unwrap() - began;
    let before = Stage::Source.part_of(GRACE) + Stage::Carrier.part_of(GRACE);
    assert_eq!(
        asked, before,
        "the sink is asked when the others had their parts"
    );
    assert!(began.elapsed() < GRACE);
    assert_eq!(tasks.left(), Stage::Sink.part_of(GRACE));
}

#[tokio::test]
async fn tasks_that_never_ran_to_a_stop_are_told_to_stop() {
    let mut tasks = Tasks::default();
    let mut token = None;
    tasks.spawn(Stage::Sink, "commits", |stop| {
        token = Some(stop);
        pending()
    });
    drop(tasks);
    assert!(token.unwrap().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn unused_time_of_a_stage_goes_to_the_next() {
    let mut tasks = Tasks::default();
    tasks.spawn(Stage::Source, "a source", |stop| async move {
        stop.cancelled().await;
    });
    let longer = Stage::Carrier.part_of(GRACE) + Duration::from_secs(1);
    tasks.spawn(Stage::Carrier, "a carrier", move |stop| async move {
        stop.cancelled().await;
        sleep(longer).await;
    });
    assert_eq!(tasks.run_until(ready(()), GRACE).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_or_panics_stops_the_others_and_is_named() {
    for (panics, expected) in [
        (false, StopError::Ended("first")),
        (true, StopError::Panicked("first")),
    ] {
        let mut tasks = Tasks::default();
        tasks.spawn(Stage::Source, "first", move |_| async move {
            assert!(!panics, "on purpose");
        });
        tasks.spawn(Stage::Sink, "second", |stop| async move {
            stop.cancelled().await;
        });
        assert_eq!(tasks.run_until(pending(), GRACE).await, Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_stopping_is_named_too() {
    let mut tasks = Tasks::default();
    tasks.spawn(Stage::Carrier, "a carrier", |stop| async move {
        stop.cancelled().await;
        panic!("on purpose");
    });
    let ended = tasks.run_until(ready(()), GRACE).await;
    assert_eq!(ended, Err(StopError::Panicked("a carrier")));
}
