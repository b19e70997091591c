use serde_json::{Value, json};

use super::{names, page::PageQuery};
use crate::broker::{
    definitions::table_of_json,
    vhost::{ArgumentsView, BindingView},
};

fn query(text: &str) -> Vec<(String, String)> {
    let pairs = crate::api::pairs(text);
    let pairs = pairs.map(|(key, value)| (key.into_owned(), value.into_owned()));
    pairs.collect()
}

/// The answer about five items with a name and a number each, or the refusal.
fn answer(text: &str) -> Result<Value, String> {
    let items = [("b", 20), ("a", 30), ("c-x", 1), ("d-x", 2), ("e", 10)];
    let items = items.map(|(name, number)| (name.to_owned(), (name, number)));
    let query = PageQuery::read(&query(text)).map_err(|refused| format!("{refused:?}"))?;
    let show = |(name, number): &(&str, i32)| json!({"name": name, "n": number, "in": {"n": number, "m": 0}});
    let answer = query.answer(items.into(), show);
    answer.map_err(|refused| format!("{refused:?}"))
}

#[track_caller]
fn check(text: &str, names: &[&str]) {
    let answer = answer(text).unwrap();
    let items = answer.get("items").unwrap_or(&answer);
    let found = items.as_array().unwrap().iter();
    let found: Vec<_> = found.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(found, names, "{text}");
}

#[test]
fn lists_are_filtered_sorted_and_paged() {
    check("", &["b", "a", "c-x", "d-x", "e"]);
    check("sort=name", &["a", "b", "c-x", "d-x", "e"]);
    check(
        "sort=name&sort_reverse=true",
        &["e", "d-x", "c-x", "b", "a"],
    );
    check("sort=n", &["c-x", "d-x", "e", "b", "a"]);
    check(
        "sort=in.n&sort_reverse=true",
        &["a", "b", "e", "d-x", "c-x"],
    );
    check("page=1&page_size=2", &["b", "a"]);
    check("page=3&page_size=2", &["e"]);
    check("page=1&page_size=2&sort=n", &["c-x", "d-x"]);
    check("page=1&name=x", &["c-x", "d-x"]);
    check("page=1&name=^[ab]&use_regex=true", &["b", "a"]);
    check("page=1&name=nothing", &[]);
    // Without a page RabbitMQ filters nothing.
    check("name=x", &["b", "a", "c-x", "d-x", "e"]);
}

#[test]
fn a_page_counts_what_is_beyond_it() {
    let page = answer("page=2&page_size=1&name=x&columns=name,in.n").unwrap();
    let expected = json!({
        "filtered_count": 2, "item_count": 1, "page": 2, "page_count": 2, "page_size": 1, "total_count": 5,
        "items": [{"name": "d-x", "in": {"n": 2}}],
    });
    assert_eq!(page, expected);
    assert_eq!(answer("page=1&name=nothing").unwrap()["page_count"], 1);
}

#[test]
fn wrong_pages_and_patterns_are_refused() {
    let long = format!("page=1&use_regex=true&name={}", "a".repeat(1025));
    for (text, fault) in [
        ("page=0", "Pagination parameters are invalid"),
        ("page=x", "Pagination parameters are invalid"),
        ("page=1&page_size=501", "Pagination parameters are invalid"),
        ("page=1&page_size=0", "Pagination parameters are invalid"),
        (
            "page=9&page_size=10",
            "Page out of range, page: 9 page size: 10, len: 5",
        ),
        ("page=1&name=(&use_regex=true", "not a regular expression"),
        (&long, "longer than 1024"),
    ] {
        let refused = answer(text).unwrap_err();
        assert!(refused.contains(fault), "{text:.60}: {refused}");
    }
}

fn binding(routing_key: &str, arguments: &Value) -> BindingView {
    BindingView {
        vhost: "/".to_owned(),
        source: "x".to_owned(),
        destination: "q".to_owned(),
        destination_type: "queue",
        routing_key: routing_key.to_owned(),
        arguments: ArgumentsView(table_of_json(arguments.as_object().unwrap()).unwrap()),
    }
}

/// As RabbitMQ 3.10 writes them, but for the hash.
#[test]
fn a_binding_has_a_key_of_its_properties() {
    let key = |routing_key: &str, arguments| names::binding(&binding(routing_key, &arguments));
    assert_eq!(key("", json!({})), "~");
    assert_eq!(key("a.b", json!({})), "a.b");
    assert_eq!(key("a~b%", json!({})), "a%7Eb%25");
    let one = key("a.b", json!({"x": 1}));
    assert!(one.starts_with("a.b~") && one.len() == 10, "{one}");
    assert_ne!(one, key("a.b", json!({"x": 2})));
    assert_eq!(one, key("a.b", json!({"x": 1})));
    assert_eq!(names::host_and_port("[::1]:5"), ("::1".to_owned(), 5));
    assert_eq!(names::host_and_port(""), (String::new(), 0));
}
