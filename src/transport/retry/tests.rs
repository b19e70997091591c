use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy {
    backoff_first: Duration::from_millis(200),
    backoff_max: Duration::from_secs(2),
    circuit_after: 6,
    circuit_open: Duration::from_secs(15),
    refusals_max: 3,
};

/// How long each wait is when chance always falls on `chance`.
#[track_caller]
fn check_waits(chance: f64, asked_ms: Option<u64>, expected_ms: &[u64]) {
    let now = Instant::now();
    let mut retry = Retry::new(POLICY);
    for (failures, expected) in expected_ms.iter().enumerate() {
        let due = retry.failed(now, chance, asked_ms.map(Duration::from_millis));
        let wait = due.duration_since(now).as_millis();
        assert_eq!(
            wait,
            u128::from(*expected),
            "wait after failure {}",
            failures + 1
        );
    }
}

#[test]
fn waits_double_up_to_a_limit_and_then_the_circuit_opens() {
    check_waits(1.0, None, &[200, 400, 800, 1_600, 2_000, 15_000, 15_000]);
    check_waits(0.5, None, &[100, 200, 400, 800, 1_000, 11_250, 11_250]);
    check_waits(0.0, None, &[0, 0, 0, 0, 0, 7_500, 7_500]);
}

#[test]
fn a_receiver_may_ask_for_a_longer_wait_within_the_limit() {
    check_waits(
        1.0,
        Some(1_000),
        &[1_000, 1_000, 1_000, 1_600, 2_000, 15_000],
    );
    check_waits(0.0, Some(86_400_000), &[15_000, 15_000]);
}

#[test]
fn the_circuit_opens_probes_and_closes() {
    let now = Instant::now();
    let mut retry = Retry::new(POLICY);
    for _ in 1..POLICY.circuit_after {
        retry.failed(now, 0.0, None);
        assert_eq!(retry.circuit(now), Circuit::Closed);
    }
    let due = retry.failed(now, 0.0, None);
    assert_eq!(retry.circuit(now), Circuit::Open);
    assert_eq!(retry.circuit(due - Duration::from_millis(1)), Circuit::Open);
    assert_eq!(retry.circuit(due), Circuit::HalfOpen);

    let again = retry.failed(due, 0.0, None);
    assert_eq!(retry.circuit(due), Circuit::Open);
    assert_eq!(retry.circuit(again), Circuit::HalfOpen);

    retry.succeeded();
    assert_eq!(retry.circuit(again), Circuit::Closed);
    assert_eq!(retry.failures(), 0);
    assert_eq!(retry.failed(again, 1.0, None) - again, POLICY.backoff_first);
}

proptest! {
    #[test]
    fn no_wait_is_ever_longer_than_its_limit(
        chances in proptest::collection::vec(0.0..1.0_f64, 1..80),
        asked in proptest::option::of(0..u64::MAX),
    ) {
        let mut now = Instant::now();
        let mut retry = Retry::new(POLICY);
        for chance in chances {
            let due = retry.failed(now, chance, asked.map(Duration::from_millis));
            prop_assert!(due - now <= POLICY.circuit_open);
            now = due;
        }
    }
}
