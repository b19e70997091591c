use std::time::Duration;

use tokio::time::Instant;

use super::{Destination, HeadersPattern, Patterns};
use crate::broker::{
    slab::Id,
    wire::{Table, ValueRef, table::TableBuilder},
};

fn table(fields: &[(&str, ValueRef<'_>)]) -> Table {
    let mut builder = TableBuilder::new();
    for (name, value) in fields {
        builder.put(name, *value);
    }
    builder.build()
}

#[test]
fn headers_match_as_rabbitmq_matches_them() {
    let one = ("a", ValueRef::I32(1));
    let two = ("b", ValueRef::Str(b"2"));
    let all = ("x-match", ValueRef::Str(b"all"));
    let any = ("x-match", ValueRef::Str(b"any"));
    let any_x = ("x-match", ValueRef::Str(b"any-with-x"));
    let all_x = ("x-match", ValueRef::Str(b"all-with-x"));
    let x = ("x-key", ValueRef::Bool(true));
    check(&[], &[], true);
    check(&[], &[one], true);
    check(&[any], &[one], false);
    check(&[one], &[one, two], true);
    check(&[all, one, two], &[one], false);
    check(&[any, one, two], &[two], true);
    check(&[one], &[("a", ValueRef::I64(1))], true);
    check(&[one], &[("a", ValueRef::Str(b"1"))], false);
    check(&[two], &[("b", ValueRef::Bytes(b"2"))], true);
    check(&[("b", ValueRef::Bytes(b"2"))], &[two], true);
    check(&[two], &[("b", ValueRef::Bytes(b"3"))], false);
    check(&[("a", ValueRef::Void)], &[two, one], true);
    check(&[("a", ValueRef::Void)], &[two], false);
    check(&[all, x], &[], true);
    check(&[any, x], &[x], false);
    check(&[any_x, x], &[x], true);
    check(&[all_x, x], &[], false);

    #[track_caller]
    fn check(binding: &[(&str, ValueRef<'_>)], headers: &[(&str, ValueRef<'_>)], expected: bool) {
        let pattern = HeadersPattern::parse(&table(binding)).unwrap();
        let matched = pattern.matches(table(headers).view());
        assert_eq!(matched, expected, "{binding:?} against {headers:?}");
    }
}

#[test]
fn an_unknown_mode_is_refused() {
    let refused = HeadersPattern::parse(&table(&[("x-match", ValueRef::Str(b"some"))]));
    let text = refused.unwrap_err().explanation;
    assert!(text.starts_with("Invalid x-match field value"), "{text}");
}

#[test]
fn bindings_are_taken_away_one_by_one_and_quickly() {
    let pattern = || HeadersPattern::parse(&Table::EMPTY).unwrap();
    let queue = |number| Destination::Queue(Id::from_u64(number));
    let mut patterns = Patterns::default();
    for number in 0..100_000 {
        patterns.add(Id::from_u64(number), pattern(), queue(number));
    }
    let begin = Instant::now();
    for number in (1..100_000).step_by(2) {
        patterns.remove(Id::from_u64(number));
        patterns.remove(Id::from_u64(number));
    }
    for number in (4..100_000).rev() {
        patterns.remove(Id::from_u64(number));
        assert!(begin.elapsed() < Duration::from_secs(10), "it is slow");
    }
    let mut left = Vec::new();
    patterns.matches(Table::EMPTY.view(), &mut left);
    assert_eq!(left, [queue(0), queue(2)]);
}
