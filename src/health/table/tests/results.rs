//! How many results are kept.

use super::{ended, instance, table, tcp, turn};
use crate::{
    health::{Config, Outcome},
    model::Revision,
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
