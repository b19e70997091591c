//! What is bounded, what is followed, and how it stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{io::AsyncWriteExt, time::sleep};

use super::{http, quick, start, start_with};
use crate::{
    health::{Config, scheduler::CHECK_BYTES},
    model::{Check, Status},
    outbound::{
        self,
        testing::{Target, request},
    },
    registry,
};

#[tokio::test]
async fn a_stop_ends_probes_under_way() {
    let mut daemon = start(quick());
    let silent = Target::silent().await;
    let patient = Check {
        timeout: Duration::from_secs(60),
        ..http("web", silent.url("/"))
    };
    for i in 0..20 {
        daemon.register(&format!("i{i}"), std::slice::from_ref(&patient));
    }
    while silent.connections() < 20 {
        sleep(Duration::from_millis(5)).await;
    }
    daemon.stopped().await;
    assert_eq!(daemon.metric("musterd_health_probes_in_flight"), Some(0.0));
}

#[tokio::test]
async fn probes_are_bounded_in_number() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (n_open, n_most) = (Arc::clone(&open), Arc::clone(&most));
    let slow = Target::start(move |mut stream, _| {
        let (open, most) = (Arc::clone(&n_open), Arc::clone(&n_most));
        async move {
            let now = open.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            request(&mut stream).await;
            sleep(Duration::from_millis(10)).await;
            open.fetch_sub(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    })
    .await;
    let daemon = start(Config {
        probes_max: 4.into(),
        ..quick()
    });
    for i in 0..40 {
        daemon.register(&format!("i{i}"), &[http("web", slow.url("/"))]);
    }
    while daemon.registry.counts().healthy < 40 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn hanging_targets_take_at_most_half_of_the_places() {
    let silent = Target::silent().await;
    let up = Target::always(200).await;
    let daemon = start(Config {
        probes_max: 4.into(),
        ..quick()
    });
    let hanging = Check {
        timeout: Duration::from_millis(200),
        ..http("web", silent.url("/"))
    };
    for i in 0..8 {
        daemon.register(&format!("hanging{i}"), std::slice::from_ref(&hanging));
    }
    let timed_out = "musterd_health_probes_total{kind=\"http\",outcome=\"timed_out\"}";
    let until_timed_out = async |times| {
        while daemon.metric(timed_out) < Some(times) {
            let in_flight = daemon.metric("musterd_health_probes_in_flight");
            assert!(times < 20.0 || in_flight <= Some(2.0), "{in_flight:?}");
            sleep(Duration::from_millis(5)).await;
        }
    };
    // Each has shown that it hangs, and from then on two are probed at once.
    until_timed_out(16.0).await;
    until_timed_out(24.0).await;
    daemon.register("up", &[http("web", up.url("/"))]);
    daemon.until("up", Status::Healthy).await;
    let waiting = daemon.metric("musterd_health_checks_waiting");
    assert!(waiting >= Some(4.0), "{waiting:?}");
}

#[tokio::test]
async fn a_scheduler_behind_the_log_misses_no_instance() {
    let small = registry::Config {
        log_entries_max: 4.into(),
        ..registry::Config::default()
    };
    let daemon = start_with(quick(), &outbound::Config::default(), small);
    let up = Target::always(200).await;
    // Without an await between them: the scheduler sees them only when all are there.
    for i in 0..50 {
        daemon.register(&format!("i{i}"), &[http("web", up.url("/"))]);
    }
    for i in 0..20 {
        daemon
            .registry
            .deregister(&format!("i{i}"), None)
            .expect("known");
    }
    while daemon.registry.counts().healthy < 30 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(daemon.metric("musterd_health_checks"), Some(30.0));
    for i in 20..50 {
        daemon
            .registry
            .deregister(&format!("i{i}"), None)
            .expect("known");
    }
    assert!(daemon.health.report("i49").is_none());
    while daemon.metric("musterd_health_checks") != Some(0.0) {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_table_of_checks_counts_towards_the_memory_of_the_registry() {
    let up = Target::always(200).await;
    let daemon = start(quick());
    daemon.register("unchecked", &[]);
    let without = daemon.registry.counts().memory;
    daemon.register("checked", &[http("web", up.url("/"))]);
    let instance = daemon.registry.instance("checked").expect("registered");
    while daemon.registry.counts().memory != without + instance.bytes + CHECK_BYTES {
        sleep(Duration::from_millis(5)).await;
    }
    daemon.registry.deregister("checked", None).expect("known");
    while daemon.registry.counts().memory != without {
        sleep(Duration::from_millis(5)).await;
    }
}
