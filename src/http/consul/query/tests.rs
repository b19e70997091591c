use std::time::Duration;

use super::{Consistency, ConsulQuery, go_duration};

#[track_caller]
fn check_duration(text: &str, millis: Option<u64>) {
    assert_eq!(
        go_duration(text),
        millis.map(Duration::from_millis),
        "{text}"
    );
}

#[test]
fn durations_are_read_as_go_writes_them() {
    check_duration("10s", Some(10_000));
    check_duration("10", Some(10_000));
    check_duration("1m30s", Some(90_000));
    check_duration("1.5h", Some(5_400_000));
    check_duration("250ms", Some(250));
    check_duration("0s", Some(0));
    for wrong in ["", "s", "10x", "-5s", "1..2s", "10s5", "abc"] {
        check_duration(wrong, None);
    }
}

fn read(query: &str) -> Result<ConsulQuery, (u16, String)> {
    let read = ConsulQuery::read(Some(query), "dc1");
    read.map_err(|error| (error.status, error.text))
}

#[test]
fn parameters_are_read_once_for_all_endpoints() {
    let query = read("index=7&wait=10s&pretty&passing=1&tag=a&tag=b&cached&stale").unwrap();
    assert_eq!(
        (query.index, query.pretty, query.cached),
        (Some(7), true, true)
    );
    assert!(query.is_set("passing") && !query.is_set("near"));
    assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(query.consistency, Consistency::Stale);
    let wait = query.wait();
    assert!(wait >= Duration::from_secs(10) && wait <= Duration::from_millis(10_625));
    let longest = read("wait=2h").unwrap().wait();
    assert!(longest >= Duration::from_secs(600) && longest <= Duration::from_secs(638));
    assert!(read("").unwrap().wait() >= Duration::from_secs(300));
    assert!(!read("passing=false").unwrap().is_set("passing"));
}

#[test]
fn a_wrong_parameter_is_named() {
    for (query, status, says) in [
        ("index=x", 400, "Invalid index"),
        ("wait=soon", 400, "Invalid wait time"),
        ("stale&consistent", 400, "?stale with ?consistent"),
        ("dc=other", 500, "No path to datacenter"),
        ("filter=(", 400, "filter expression"),
    ] {
        let (code, text) = read(query).unwrap_err();
        assert_eq!(code, status, "{query}");
        assert!(text.contains(says), "{query}: {text}");
    }
    assert!(read("dc=dc1&dc=").is_ok());
}

#[test]
fn the_key_of_a_query_holds_what_changes_its_answer() {
    let key = |query: &str| read(query).unwrap().key("/v1/x", "");
    assert_eq!(key("index=1&wait=1s&tag=a"), key("tag=a&pretty&index=2"));
    assert_ne!(key("tag=a"), key("tag=b"));
    assert_ne!(key("tag=a"), key("passing&tag=a"));
}
