use super::Lags;
use crate::{
    model::{Cursor, Revision, ServiceName},
    registry::{Config, Registry},
    transport::testing::registration,
};

#[test]
fn lag_counts_the_events_of_the_filter_and_reads_the_log_once() {
    let registry = Registry::new(Config {
        log_entries_max: 8.into(),
        ..Config::default()
    });
    // 1-4 are gone; "a" has 6, 8, 10 and 12, "b" the others.
    for n in 1..=12 {
        let service = if n % 2 == 0 { "a" } else { "b" };
        let registration = registration(service, &format!("{service}-{n}"));
        registry.register(registration, None).unwrap();
    }
    let names = ["a", "b", "c"].map(|name| ServiceName::parse(name).unwrap());
    let mut lags = Lags::new(&registry);
    let mut check = |cursor: u64, service: Option<usize>, expected: u64| {
        let cursor = Cursor {
            epoch: registry.epoch(),
            revision: Revision(cursor),
        };
        let lag = lags.after(cursor, service.map(|at| &names[at]));
        assert_eq!(lag, expected, "after {cursor:?}");
    };
    check(12, Some(0), 0);
    check(9, Some(0), 2);
    check(4, Some(0), 4);
    check(8, Some(0), 2);
    check(8, Some(1), 2);
    check(2, Some(0), 10);
    check(11, Some(0), 1);
    check(7, Some(2), 0);
    check(7, None, 5);
    let read: usize = lags
        .chains
        .values()
        .flatten()
        .map(|chain| chain.revisions.len())
        .sum();
    assert_eq!(read, 6, "read only up to the newest revision asked for");
}
