use std::time::Duration;

use tokio::time::Instant;

use super::{Destination, Headers, HeadersPattern, PatternSearch, Patterns};
use crate::broker::{
    budget::Budget,
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

fn matches(pattern: HeadersPattern, headers: &Table) -> bool {
    let mut patterns = Patterns::default();
    patterns.add(
        Id::from_u64(0),
        pattern,
        Destination::Queue(Id::from_u64(0)),
    );
    !all(&patterns, headers).0.is_empty()
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
        let matched = matches(pattern, &table(headers));
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
    assert_eq!(all(&patterns, &Table::EMPTY).0, [queue(2), queue(0)]);
}

/// Where a message goes, and in how many turns and steps that is found.
fn all(patterns: &Patterns, headers: &Table) -> (Vec<Destination>, usize, i64) {
    let (mut out, mut budget) = (Vec::new(), Budget::default());
    let (mut search, mut index) = (PatternSearch::default(), None);
    let (mut turns, mut steps) = (0, 0);
    loop {
        budget.refill();
        let mut headers = Headers::new(Some(headers.view()), index);
        let done = patterns.matches(&mut headers, &mut search, &mut budget, &mut out);
        index = headers.into_index();
        turns += 1;
        steps += budget.used();
        if done {
            return (out, turns, steps);
        }
    }
}

#[test]
fn many_headers_against_many_bindings_cost_a_look_up_for_each_header_that_is_asked_for() {
    let names: Vec<_> = (0..9_999).map(|number| format!("k{number}")).collect();
    let headers: Vec<_> = names
        .iter()
        .map(|name| (&**name, ValueRef::Bool(true)))
        .collect();
    let headers = table(&headers);
    let mut patterns = Patterns::default();
    for number in 0..20_000u64 {
        let name = format!("k{}", 2 * number);
        let pattern = HeadersPattern::parse(&table(&[(&name, ValueRef::Bool(true))])).unwrap();
        patterns.add(
            Id::from_u64(number),
            pattern,
            Destination::Queue(Id::from_u64(number)),
        );
    }
    let (found, turns, steps) = all(&patterns, &headers);
    assert_eq!(found.len(), 5_000);
    assert!(turns > 1, "{turns} turns are no test");
    let once = 2 * 20_000 + 9_999;
    assert!(steps <= once, "{steps} steps");
}

#[test]
fn a_search_ends_although_the_index_alone_costs_more_than_a_slice() {
    let names: Vec<_> = (0..9_999).map(|number| format!("k{number}")).collect();
    let headers: Vec<_> = (names.iter())
        .map(|name| (&**name, ValueRef::Bool(true)))
        .collect();
    let headers = table(&headers);
    let mut patterns = Patterns::default();
    for number in 0..5_000u64 {
        let pattern = HeadersPattern::parse(&Table::EMPTY).unwrap();
        let to = Destination::Queue(Id::from_u64(number));
        patterns.add(Id::from_u64(number), pattern, to);
    }
    let (mut out, mut search, mut index) = (Vec::new(), PatternSearch::default(), None);
    let is_done = (0..20).any(|_| {
        let mut budget = Budget::default();
        budget.limit_to(100);
        let mut headers = Headers::new(Some(headers.view()), index.take());
        let is_done = patterns.matches(&mut headers, &mut search, &mut budget, &mut out);
        index = headers.into_index();
        is_done
    });
    assert!(is_done, "{search:?} is left");
    assert_eq!(out.len(), 5_000);
}

#[test]
fn an_index_finds_the_first_of_equal_names_as_reading_does() {
    let mut fields = vec![("a", ValueRef::I32(1)), ("a", ValueRef::I32(2))];
    for length in [2, 100] {
        fields.resize(length, ("other", ValueRef::Bool(true)));
        let headers = table(&fields);
        let mut patterns = Patterns::default();
        for (number, value) in [(0, 1), (1, 2)] {
            let wanted = table(&[("a", ValueRef::I32(value))]);
            let pattern = HeadersPattern::parse(&wanted).unwrap();
            let to = Destination::Queue(Id::from_u64(number));
            patterns.add(Id::from_u64(number), pattern, to);
        }
        let first = Destination::Queue(Id::from_u64(0));
        assert_eq!(all(&patterns, &headers).0, [first], "{length} headers");
    }
}

#[test]
fn a_binding_that_is_removed_while_it_is_compared_is_left_out_and_no_other() {
    let names: Vec<_> = (0..5_000).map(|number| format!("k{number}")).collect();
    let fields: Vec<_> = (names.iter())
        .map(|name| (&**name, ValueRef::Void))
        .collect();
    let large = table(&fields);
    let mut patterns = Patterns::default();
    let queue = |number| Destination::Queue(Id::from_u64(number));
    for number in 0..3 {
        let pattern = HeadersPattern::parse(&large).unwrap();
        patterns.add(Id::from_u64(number), pattern, queue(number));
    }
    // The index, and a part of the first binding.
    let (mut out, mut search) = (Vec::new(), PatternSearch::default());
    let mut budget = Budget::default();
    let _rest = budget.limit_to(0);
    budget.put_back(6_000);
    let mut headers = Headers::new(Some(large.view()), None);
    assert!(!patterns.matches(&mut headers, &mut search, &mut budget, &mut out));
    let mut index = headers.into_index();
    assert!(search.begun.is_some(), "{search:?}");
    patterns.remove(Id::from_u64(2));
    while {
        let mut headers = Headers::new(Some(large.view()), index.take());
        let is_done = patterns.matches(&mut headers, &mut search, &mut Budget::default(), &mut out);
        index = headers.into_index();
        !is_done
    } {}
    assert_eq!(out, [queue(1), queue(0)]);
}
