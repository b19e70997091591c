use proptest::prelude::*;

use super::{Verdict, VerdictRules};

const INTERVAL: u64 = 1000;

fn rules(healthy_after: u32, unhealthy_after: u32) -> VerdictRules {
    VerdictRules {
        healthy_after,
        unhealthy_after,
        flips_max: 5,
        window_ms: 10 * INTERVAL,
    }
}

/// Feeds outcomes, one per interval, and draws what the check says after each: `.` nothing yet,
/// `+` passes, `-` fails, and the same in brackets while it is flapping.
fn drawn(verdict: &mut Verdict, outcomes: &str, from: u64, rules: &VerdictRules) -> String {
    let mut drawn = String::new();
    for (i, outcome) in outcomes.chars().enumerate() {
        verdict.record(outcome == 'p', from + i as u64 * INTERVAL, rules);
        let says = match verdict.says() {
            None => '.',
            Some(true) => '+',
            Some(false) => '-',
        };
        if verdict.is_flapping() {
            drawn.push_str(&format!("({says})"));
        } else {
            drawn.push(says);
        }
    }
    drawn
}

#[track_caller]
fn check(rules: &VerdictRules, outcomes: &str, expected: &str) {
    assert_eq!(drawn(&mut Verdict::open(0), outcomes, 0, rules), expected);
}

#[test]
fn runs_of_outcomes_make_verdicts() {
    check(&rules(1, 3), "pfffpf", "+++-++");
    check(&rules(1, 3), "ffpffp", "..++++");
    check(&rules(1, 3), "fff", "..-");
    check(&rules(2, 1), "pfppfp", ".--+--");
    check(&rules(3, 3), "ppfppp", ".....+");
}

#[test]
fn the_sixth_flip_in_ten_intervals_is_held_down() {
    check(&rules(1, 1), "pfpfpfpf", "+-+-+-(-)(-)");
    check(&rules(1, 1), "fpfpfpf", "-+-+-+(+)");
}

#[test]
fn five_flips_are_never_held_down_and_slow_ones_never() {
    check(&rules(1, 1), "pfpfpfffffff", "+-+-+-------");
    let outcomes = "pf".repeat(50);
    let mut verdict = Verdict::open(0);
    for (i, outcome) in outcomes.chars().enumerate() {
        let flipped = verdict.record(outcome == 'p', i as u64 * 2 * INTERVAL, &rules(1, 1));
        assert!(flipped, "flip {i} was held down");
    }
}

#[test]
fn after_flapping_the_verdict_is_the_current_result() {
    let mut verdict = Verdict::open(0);
    drawn(&mut verdict, "pfpfpfp", 0, &rules(1, 1));
    assert!(verdict.is_flapping());
    assert_eq!(verdict.says(), Some(false));
    let later = drawn(&mut verdict, &"p".repeat(10), 7 * INTERVAL, &rules(1, 1));
    assert!(later.ends_with('+'), "{later}");
    assert!(later.starts_with("(-)"), "{later}");
    assert!(!later.contains("(+)"), "{later}");
    assert!(verdict.since_ms() > 7 * INTERVAL);
}

#[test]
fn endless_flapping_stays_marked_and_small() {
    let mut verdict = Verdict::open(0);
    drawn(&mut verdict, "pfpfpfp", 0, &rules(1, 1));
    for i in 0..1000 {
        assert!(!verdict.record(i % 2 == 0, (7 + i) * INTERVAL, &rules(1, 1)));
        assert!(verdict.is_flapping());
        assert!(verdict.flips.len() <= 6);
    }
}

#[test]
fn a_presumed_verdict_needs_a_full_run_against_it() {
    let mut verdict = Verdict::presumed(true, 0);
    assert_eq!(drawn(&mut verdict, "fff", 0, &rules(1, 3)), "++-");
    let mut verdict = Verdict::presumed(false, 0);
    assert_eq!(drawn(&mut verdict, "fp", 0, &rules(1, 3)), "-+");
}

proptest! {
    #[test]
    fn flapping_ends_when_the_check_is_stable(
        before in "[pf]{0,60}", last: bool, healthy_after in 1_u32..4, unhealthy_after in 1_u32..4,
    ) {
        let rules = rules(healthy_after, unhealthy_after);
        let mut verdict = Verdict::open(0);
        drawn(&mut verdict, &before, 0, &rules);
        let steady = if last { "p" } else { "f" }.repeat(14);
        drawn(&mut verdict, &steady, before.len() as u64 * INTERVAL, &rules);
        prop_assert_eq!(verdict.says(), Some(last));
        prop_assert!(!verdict.is_flapping());
    }

    #[test]
    fn record_reports_exactly_the_changes_of_a_verdict(outcomes in "[pf]{0,200}") {
        let rules = rules(1, 2);
        let mut verdict = Verdict::open(0);
        for (i, outcome) in outcomes.chars().enumerate() {
            let before = verdict.says();
            let flipped = verdict.record(outcome == 'p', i as u64 * INTERVAL, &rules);
            prop_assert_eq!(flipped, before != verdict.says());
        }
    }
}
