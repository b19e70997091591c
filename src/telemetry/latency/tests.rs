use std::time::Duration;

use super::{BUCKETS, Latency, LatencySnapshot, bucket, middle};

#[test]
fn quantiles_are_within_five_percent_of_the_observed() {
    let mut ns = 1_000_u64;
    while ns < 60_000_000_000 {
        let took = Duration::from_nanos(ns);
        let read = middle(bucket(took)).as_secs_f64();
        let off = (read / took.as_secs_f64() - 1.0).abs();
        assert!(off < 0.05, "{took:?} is read as {read} s");
        ns += ns / 7;
    }
}

#[test]
fn buckets_grow_with_the_duration_and_the_ends_are_caught() {
    let mut last = 0;
    for ns in (0..40_000).map(|n| n * 25) {
        let at = bucket(Duration::from_nanos(ns));
        assert!(at == last || at == last + 1, "{ns} ns: {last} then {at}");
        last = at;
    }
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    assert!(bucket(Duration::from_secs(60)) < BUCKETS - 1);
}

#[test]
fn quantiles_of_the_values_added_between_two_snapshots() {
    let latency = Latency::default();
    for _ in 0..1000 {
        latency.observe(Duration::from_secs(1));
    }
    let earlier = latency.snapshot();
    for ms in 1..=100 {
        latency.observe(Duration::from_millis(ms));
    }
    let window = latency.snapshot().since(&earlier);
    assert_eq!(window.count(), 100);
    let ms = |share| window.quantile(share).unwrap().as_secs_f64() * 1e3;
    assert!((ms(0.95) - 95.0).abs() < 5.0, "{}", ms(0.95));
    assert!((ms(0.5) - 50.0).abs() < 3.0, "{}", ms(0.5));
    assert!((ms(0.0) - 1.0).abs() < 0.1, "{}", ms(0.0));
    assert_eq!(LatencySnapshot::default().quantile(0.95), None);
}

#[test]
fn counts_that_wrap_around_still_differ_by_what_was_added() {
    let mut late = LatencySnapshot::default();
    late.add(Duration::from_millis(3));
    let mut early = LatencySnapshot::default();
    let at = bucket(Duration::from_millis(3));
    early.buckets[at] = u32::MAX;
    assert_eq!(late.since(&early).count(), 2);
}
