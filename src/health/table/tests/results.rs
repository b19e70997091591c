//! How many results are kept, and flapping.

use super::{ended, instance, table, tcp, turn};
use crate::{
    health::{Config, Outcome},
    model::{Check, Revision},
};

#[test]
fn results_are_bounded() {
    let mut table = table();
    table.observe(&instance("i", &[tcp("t")]), Revision(1), 0);
    let turn = turn(&mut table, 1000);
    for at in 0..100 {
        table.record(turn.check, ended(Outcome::Passed, 1000 + at));
    }
    let (_, kept) = table.kept("i").expect("kept");
    assert_eq!(kept[0].results.len(), *Config::default().results_max);
    assert_eq!(kept[0].results.back().map(|last| last.at_ms), Some(1099));
}

#[test]
fn flapping_checks_are_counted_and_uncounted() {
    let mut table = table();
    let quick = Check {
        unhealthy_after: 1,
        ..tcp("t")
    };
    table.observe(&instance("i", &[quick]), Revision(1), 0);
    let turn = turn(&mut table, 1000);
    let mut judged = 0;
    for at in 0..20 {
        let outcome = if at % 2 == 0 {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        judged += usize::from(
            table
                .record(turn.check, ended(outcome, 1000 + at))
                .is_some(),
        );
    }
    assert_eq!(
        (judged, table.sizes().flapping),
        (6, 1),
        "a verdict, and five flips"
    );
    table.forget("i", Revision(2));
    assert_eq!(table.sizes().flapping, 0);
}
