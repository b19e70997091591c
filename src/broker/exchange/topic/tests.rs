use proptest::prelude::*;

use super::TopicTrie;

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
            .filter(|key| {
                let mut out = Vec::new();
                trie.matches(key.as_bytes(), &mut out);
                !out.is_empty()
            })
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
    let mut out = Vec::new();
    for _ in 0..1000 {
        out.clear();
        trie.matches(key.as_bytes(), &mut out);
        assert_eq!(out, [1]);
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
            let mut matched = Vec::new();
            trie.matches(key.as_bytes(), &mut matched);
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
