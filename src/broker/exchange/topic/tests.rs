use proptest::prelude::*;

use super::TopicTrie;
use crate::broker::budget::Budget;

fn matched(trie: &mut TopicTrie<usize>, key: &str) -> Vec<usize> {
    let mut out = Vec::new();
    let mut search = None;
    let mut budget = Budget::default();
    while !trie.matches(key.as_bytes(), &mut search, &mut budget, &mut out) {
        budget.refill();
    }
    out
}

#[test]
fn patterns_match_as_rabbitmq_matches_them() {
    let keys = [
        "", "a", "b", "c", "a.b", "a.c", "a.", "a..c", "a.b.c", ".", "b.c",
    ];
    check("#", &keys);
    check("*", &["a", "b", "c"]);
    check("a.*", &["a.b", "a.c", "a."]);
    check("a.#", &["a", "a.b", "a.c", "a.", "a..c", "a.b.c"]);
    check("#.c", &["c", "a.c", "a..c", "a.b.c", "b.c"]);
    check("", &[""]);
    check("*.#", &keys[1..]);
    check("#.#", &keys);
    check("a.#.c", &["a.c", "a..c", "a.b.c"]);
    check("*.*", &["a.b", "a.c", "a.", ".", "b.c"]);

    #[track_caller]
    fn check(pattern: &str, expected: &[&str]) {
        let keys = [
            "", "a", "b", "c", "a.b", "a.c", "a.", "a..c", "a.b.c", ".", "b.c",
        ];
        let mut trie = TopicTrie::default();
        trie.insert(pattern.as_bytes(), 1);
        let matched: Vec<_> = keys
            .into_iter()
            .filter(|key| !matched(&mut trie, key).is_empty())
            .collect();
        assert_eq!(matched, expected, "{pattern}");
    }
}

#[test]
fn a_removed_pattern_leaves_no_node_behind() {
    let mut trie = TopicTrie::default();
    for pattern in ["a.b.c", "a.#", "a.*.c", "", "#", "a..", "a.b.c"] {
        trie.insert(pattern.as_bytes(), 1);
    }
    for pattern in [
        "a.b.c",
        "a.#",
        "a.*.c",
        "",
        "#",
        "a..",
        "a.b.c",
        "never.bound",
    ] {
        trie.remove(pattern.as_bytes(), 1);
    }
    assert_eq!(trie.nodes.len() - trie.free.len(), 1);
}

#[test]
fn many_wildcards_do_not_explode() {
    let mut trie = TopicTrie::default();
    let pattern = ["#.a"; 60].join(".");
    trie.insert(pattern.as_bytes(), 1);
    let key = ["a"; 127].join(".");
    for _ in 0..1000 {
        assert_eq!(matched(&mut trie, &key), [1]);
    }
}

fn naive(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern.split_first(), key.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => {
            naive(rest, key) || (!key.is_empty() && naive(pattern, &key[1..]))
        }
        (Some((&word, rest)), Some((&first, tail))) => {
            (word == "*" || word == first) && naive(rest, tail)
        }
        _ => false,
    }
}

fn split(key: &str) -> Vec<&str> {
    if key.is_empty() {
        return Vec::new();
    }
    key.split('.').collect()
}

proptest! {
    #[test]
    fn agrees_with_a_naive_matcher(
        patterns in prop::collection::vec("([abc*#]?\\.){0,4}[abc*#]?", 1..12),
        gone in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        keys in prop::collection::vec("([abc]?\\.){0,4}[abc]?", 1..12),
    ) {
        let mut trie = TopicTrie::default();
        let mut bound: Vec<Option<&str>> = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            trie.insert(pattern.as_bytes(), number);
            bound.push(Some(pattern));
        }
        for index in gone {
            let number = index.index(patterns.len());
            if let Some(pattern) = bound[number].take() {
                trie.remove(pattern.as_bytes(), number);
            }
        }
        for key in &keys {
            let mut matched = matched(&mut trie, key);
            matched.sort_unstable();
            let expected: Vec<usize> = bound
                .iter()
                .enumerate()
                .filter(|(_, pattern)| {
                    pattern.is_some_and(|pattern| naive(&split(pattern), &split(key)))
                })
                .map(|(number, _)| number)
                .collect();
            prop_assert_eq!(matched, expected, "key {:?} against {:?}", key, bound);
        }
    }
}

/// Patterns of 127 words that make a trie of many nodes, most of which a key of 127 equal words reaches.
fn wild(count: usize) -> TopicTrie<usize> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut trie = TopicTrie::default();
    for number in 0..count {
        let words = (0..127).map(|_| ["#", "*", "a"][random.usize(..3)]);
        let pattern: Vec<_> = words.collect();
        trie.insert(pattern.join(".").as_bytes(), number);
    }
    trie
}

#[test]
fn a_search_visits_a_pair_of_node_and_word_once_and_stops_at_its_budget() {
    let mut trie = wild(50);
    let key = ["a"; 127].join(".");
    let (mut search, mut budget, mut out) = (None, Budget::default(), Vec::new());
    let (mut turns, mut steps) = (0, 0);
    loop {
        budget.refill();
        let done = trie.matches(key.as_bytes(), &mut search, &mut budget, &mut out);
        assert!(
            budget.used() <= 21_000,
            "{} steps in one turn",
            budget.used()
        );
        turns += 1;
        steps += budget.used();
        if done {
            break;
        }
    }
    let pairs = i64::try_from(trie.nodes.len() * 128).unwrap();
    assert!(turns > 3, "{turns} turns are no test");
    assert!(steps <= 2 * pairs + 128, "{steps} steps for {pairs} pairs");
    assert!(search.is_none());
}

#[test]
fn searches_that_take_turns_visit_a_pair_of_node_and_word_once_each() {
    let mut trie = wild(50);
    let key = ["a"; 127].join(".");
    let mut searches = [None, None];
    let mut out = Vec::new();
    let (mut turns, mut steps) = (0, 0);
    let mut budget = Budget::default();
    'all: loop {
        for search in &mut searches {
            budget.refill();
            // A small slice: it ends in the middle of what one word reaches.
            budget.spend(20_380);
            let before = budget.used();
            let done = trie.matches(key.as_bytes(), search, &mut budget, &mut out);
            turns += 1;
            steps += budget.used() - before;
            if done {
                break 'all;
            }
        }
    }
    let pairs = i64::try_from(trie.nodes.len() * 128).unwrap();
    assert!(turns > 100, "{turns} turns are no test");
    assert!(steps <= 4 * pairs, "{steps} steps for {pairs} pairs");
}

proptest! {
    #[test]
    fn bindings_that_come_and_go_during_a_search_do_not_disturb_it(
        changes in prop::collection::vec((any::<bool>(), "([ab*#]\\.){0,5}[ab*#]"), 1..60),
        pause in 1usize..40,
    ) {
        let mut trie = wild(20);
        trie.insert(b"#.a", 1000);
        trie.insert(b"b.#", 1001);
        let key = ["a"; 127].join(".");
        let (mut search, mut budget, mut out) = (None, Budget::default(), Vec::new());
        let mut changes = changes.iter().cycle();
        loop {
            budget.refill();
            budget.spend(20_480 - pause);
            if trie.matches(key.as_bytes(), &mut search, &mut budget, &mut out) || out.len() > 9_000 {
                break;
            }
            for (add, pattern) in changes.by_ref().take(3) {
                if *add {
                    trie.insert(pattern.as_bytes(), 2000);
                } else {
                    trie.remove(pattern.as_bytes(), 2000);
                }
            }
        }
        prop_assert!(out.contains(&1000), "the binding that was there all the time is found");
        prop_assert!(!out.contains(&1001), "one that does not match is not");
    }
}
