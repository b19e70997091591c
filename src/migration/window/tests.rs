use std::time::Duration;

use super::{FailureWindow, Measured, Measurements, Window, WindowEnd, WindowSize};
use crate::telemetry::LatencySnapshot;

const SIZE: WindowSize = WindowSize {
    span: Duration::from_secs(10),
    samples_min: 20,
};

fn add(seen: &mut LatencySnapshot, n: usize, ms: u64) {
    for _ in 0..n {
        seen.add(Duration::from_millis(ms));
    }
}

#[test]
fn a_window_is_long_enough_and_has_enough_samples() {
    let mut seen = LatencySnapshot::default();
    add(&mut seen, 1000, 900);
    let mut window = Window::begin(0, &seen);
    add(&mut seen, 19, 1);
    assert_eq!(window.close(9_999, &seen, SIZE), None);
    assert_eq!(window.close(10_000, &seen, SIZE), None, "one is missing");
    add(&mut seen, 1, 1);
    let Some(WindowEnd::Full(tail)) = window.close(15_000, &seen, SIZE) else {
        panic!("it is full");
    };
    assert_eq!(tail.samples, 20);
    assert!(
        tail.p95 < Duration::from_millis(2),
        "what was before is not in it"
    );
    // The next one begins there.
    add(&mut seen, 100, 50);
    assert_eq!(window.close(24_999, &seen, SIZE), None);
    let Some(WindowEnd::Full(tail)) = window.close(25_000, &seen, SIZE) else {
        panic!("it is full");
    };
    assert!(tail.p95 > Duration::from_millis(48));
}

#[test]
fn a_window_without_samples_restarts_after_a_while() {
    let mut seen = LatencySnapshot::default();
    let mut window = Window::begin(0, &seen);
    add(&mut seen, 5, 1);
    assert_eq!(window.close(119_999, &seen, SIZE), None);
    assert_eq!(window.close(120_000, &seen, SIZE), Some(WindowEnd::Stale));
    add(&mut seen, 19, 1);
    assert_eq!(
        window.close(130_000, &seen, SIZE),
        None,
        "the five are gone"
    );
}

#[test]
fn failures_are_a_share_of_all_requests_of_both_ways() {
    let mut sources = Measurements {
        failed: 100,
        ..Measurements::default()
    };
    let mut window = FailureWindow::begin(0, &sources);
    sources.failed += 2;
    sources.amqp_failed += 2;
    sources.amqp_answered += 30;
    add(&mut sources.latencies[Measured::Discover as usize], 6, 1);
    assert_eq!(window.close(9_000, &sources, SIZE), None);
    assert_eq!(
        window.close(10_000, &sources, SIZE),
        Some(WindowEnd::Full(0.1))
    );
    sources.failed += 19;
    assert_eq!(window.close(20_000, &sources, SIZE), None);
    assert_eq!(
        window.close(130_000, &sources, SIZE),
        Some(WindowEnd::Stale)
    );
}
