use super::*;
use crate::kv::{
    KvOperation, KvVerb,
    draft::{KvDraft, testing},
};

fn with(keys: &[&str]) -> KvDraft {
    let mut draft = testing::draft();
    for key in keys {
        testing::set(&mut draft, key, "v");
    }
    draft
}

#[track_caller]
fn check(keys: &[&str], prefix: &str, separator: &str, expected: &[&str]) {
    let names = with(keys)
        .state
        .key_names(prefix, separator, |_| true)
        .found;
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    assert_eq!(
        names, expected,
        "prefix {prefix:?}, separator {separator:?}"
    );
}

#[test]
fn keys_are_listed_up_to_a_separator() {
    let keys = ["a", "a/", "a/b", "a/b/c", "a/b/d", "a/é/f", "ab", "b"];
    check(
        &keys,
        "",
        "",
        &["a", "a/", "a/b", "a/b/c", "a/b/d", "a/é/f", "ab", "b"],
    );
    check(&keys, "a/", "", &["a/", "a/b", "a/b/c", "a/b/d", "a/é/f"]);
    check(&keys, "", "/", &["a", "a/", "ab", "b"]);
    check(&keys, "a/", "/", &["a/", "a/b", "a/b/", "a/é/"]);
    check(&keys, "a/b", "/", &["a/b", "a/b/"]);
    check(&keys, "a/b", "é/", &["a/b", "a/b/c", "a/b/d"]);
    check(&keys, "zz", "/", &[]);
    check(&[], "", "/", &[]);
}

#[test]
fn an_index_moves_only_with_what_is_shown() {
    let mut draft = with(&["a/1", "b/1"]);
    let index = |draft: &KvDraft, prefix| draft.state.list(prefix, |_| true).index;
    let names = |draft: &KvDraft, prefix| draft.state.key_names(prefix, "", |_| true).index;
    let (a, b, a_names) = (
        index(&draft, "a/"),
        index(&draft, "b/"),
        names(&draft, "a/"),
    );
    testing::set(&mut draft, "a/1", "other");
    assert!(index(&draft, "a/") > a);
    assert_eq!(index(&draft, "b/"), b);
    assert_eq!(names(&draft, "a/"), a_names, "the keys are the same");
    // The same value again is no change.
    let a = index(&draft, "a/");
    testing::set(&mut draft, "a/1", "other");
    assert_eq!(index(&draft, "a/"), a);
    // A deletion moves it, too.
    let delete = KvOperation {
        key: "a/1".into(),
        verb: KvVerb::Delete,
    };
    draft.transact(std::slice::from_ref(&delete)).unwrap();
    let gone = index(&draft, "a/");
    assert!(gone > a && names(&draft, "a/") > a_names);
    assert_eq!(index(&draft, "b/"), b);
    let missing = draft.state.get(&"a/1".into());
    assert_eq!((missing.index, missing.found), (gone, None));
    draft.transact(&[delete]).unwrap();
    assert_eq!(index(&draft, "a/"), gone, "it was gone already");
    // What was never there has an index too, and it is not 0.
    assert_eq!(draft.state.get(&"c".into()).index, FIRST);
    assert_eq!(index(&draft, "c"), FIRST);
}

#[test]
fn an_index_is_of_what_the_caller_sees() {
    let mut draft = with(&["a", "b"]);
    let seen = |draft: &KvDraft| draft.state.list("", |key| key == "a");
    let before = seen(&draft);
    assert_eq!(before.found.len(), 1);
    testing::set(&mut draft, "b", "other");
    assert_eq!(seen(&draft), before);
    let names = draft.state.key_names("", "", |key| key == "a");
    assert_eq!(names.found, ["a".into()]);
    testing::set(&mut draft, "a", "other");
    assert!(seen(&draft).index > before.index);
}

#[test]
fn deletions_that_are_forgotten_do_not_move_an_index_back() {
    let mut draft = testing::draft();
    let keys_max = testing::LIMITS.keys_max;
    let mut newest = 0;
    for number in 0..2 * keys_max {
        let key = format!("gone/{number}");
        testing::set(&mut draft, &key, "v");
        let delete = KvOperation {
            key: (*key).into(),
            verb: KvVerb::Delete,
        };
        draft.transact(&[delete]).unwrap();
        let index = draft.state.list("gone/", |_| true).index;
        assert!(index > newest, "{index} after {newest}");
        newest = index;
    }
    assert_eq!(draft.state.deleted.table().len(), keys_max);
    let first = draft.state.get(&"gone/0".into());
    assert!(first.index > FIRST && first.index < newest);
}
