use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{super::pairs, Discover, discovered};
use crate::{
    api::{self, Defaults, Seen, registration::tests::made_of},
    model::{Revision, Timestamp},
};

#[test]
fn queries_are_read_leniently() {
    let plain = Discover::from_query(None).unwrap().filter;
    assert!(plain.healthy_only && plain.is_plain());
    let query = "healthy_only=No&tag=a&tag=b%20c&version=1+x&zone=eu&metadata.k=v&limit=3&index=7&wait=5s&x=y&&";
    let wanted = Discover::from_query(Some(query)).unwrap();
    let filter = &wanted.filter;
    assert!(!filter.healthy_only && !filter.is_plain());
    assert_eq!(filter.tags, ["a", "b c"]);
    assert_eq!(filter.version.as_deref(), Some("1 x"));
    assert_eq!(filter.metadata, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(filter.limit, Some(3));
    assert_eq!(wanted.index, Some(Seen::Revision(Revision(7))));
    assert_eq!(wanted.wait, Some(Duration::from_secs(5)));
    let lost = Discover::from_query(Some("index=abc&wait=9d")).unwrap();
    assert_eq!(lost.index, Some(Seen::Unreadable));
    assert_eq!(
        lost.wait,
        Some(Duration::from_secs(600)),
        "cut to the longest"
    );
}

#[test]
fn the_fault_is_named() {
    let problem =
        Discover::from_query(Some("healthy_only=perhaps&limit=-1&wait=soon")).unwrap_err();
    let fields: Vec<_> = problem.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(
        (problem.status, fields),
        (422, vec!["healthy_only", "limit", "wait"])
    );
    let many = "tag=a&".repeat(65);
    assert!(Discover::from_query(Some(&many)).is_err());
}

#[test]
fn a_message_is_read_like_a_query() {
    let body = br#"{"service_name":"a","healthy_only":"no","tags":["x"],"tag":"y","metadata":{"n":1,"s":"t"},"limit":"2"}"#;
    let (name, wanted, warnings) = Discover::from_json(body).unwrap();
    assert_eq!(warnings.sentences().count(), 0);
    let query = "healthy_only=no&tag=x&tag=y&metadata.n=1&metadata.s=t&limit=2";
    assert_eq!(name, "a");
    assert_eq!(wanted, Discover::from_query(Some(query)).unwrap());
    assert!(Discover::from_json(b"{}").is_err());
    let plain = Discover::from_json(br#"{"service_name":"a"}"#).unwrap();
    assert_eq!(plain.1, Discover::default());
}

#[test]
fn all_filters_must_match() {
    check("", true);
    check("tag=a", true);
    check("tag=a&tag=b", true);
    check("tag=a&tag=c", false);
    check("version=2.0", true);
    check("version=2", false);
    check("zone=eu", true);
    check("zone=us", false);
    check("metadata.k=v&metadata.n=7", true);
    check("metadata.k=w", false);
    check("metadata.none=", false);
    check("tag=a&zone=us", false);

    #[track_caller]
    fn check(query: &str, expected: bool) {
        let body = br#"{"service_id":"a","service_name":"a","host":"h","port":1,"tags":["a","b"],
            "version":"2.0","zone":"eu","metadata":{"k":"v","n":7}}"#;
        let parsed = api::registration(body, &Defaults::default()).unwrap();
        let instance = made_of(parsed.registration);
        let wanted = Discover::from_query(Some(query)).unwrap();
        assert_eq!(wanted.filter.matches(&instance), expected);
    }
}

#[test]
fn the_answer_counts() {
    let body = br#"{"service_id":"a","service_name":"a","host":"h","port":1}"#;
    let parsed = api::registration(body, &Defaults::default()).unwrap();
    let instance = Arc::new(made_of(parsed.registration));
    let instances = [Arc::clone(&instance), Arc::clone(&instance), instance];
    let answer = discovered(instances.iter(), |_| Timestamp(0));
    let shape: api::DiscoveredJson = serde_json::from_slice(&answer).unwrap();
    assert_eq!((shape.total_count, shape.services.len()), (3, 3));
    assert_eq!(
        discovered(std::iter::empty(), |_| Timestamp(0)),
        br#"{"services":[],"total_count":0}"#
    );
}

proptest! {
    #[test]
    fn arbitrary_queries_do_not_panic(query in "[ -~é]{0,80}") {
        let _ = Discover::from_query(Some(&query));
        prop_assert!(pairs(&query).count() <= query.len());
    }
}

#[test]
fn a_written_query_is_read_back() {
    let body = br#"{"service_name":"a/b","healthy_only":false,"tags":["a&b","c d"],"zone":"%","metadata":{"k=1":"v"},"limit":3}"#;
    let (name, wanted, _) = Discover::from_json(body).unwrap();
    assert_eq!(name, "a/b");
    assert_eq!(
        Discover::from_query(Some(&wanted.to_query())).unwrap(),
        wanted
    );
}
