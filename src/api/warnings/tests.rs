use serde_json::{Value, json};

use super::super::read;

fn with_warnings(body: &str, answer: &'static str) -> Value {
    let read = read::request(body.as_bytes(), &["status"], |fields| {
        fields.get("a");
        Some(())
    });
    let ((), warnings) = read.unwrap();
    serde_json::from_slice(&warnings.added_to(answer)).unwrap()
}

#[test]
fn only_unknown_fields_are_named() {
    assert_eq!(
        with_warnings(r#"{"a":1,"status":2}"#, r#"{"x":1}"#),
        json!({"x": 1})
    );
    let body = r#"{"a":1,"b\n":2}"#;
    assert_eq!(
        with_warnings(body, r#"{"x":1}"#),
        json!({"x": 1, "warnings": ["unknown field \"b\n\" was ignored"]})
    );
    assert_eq!(
        with_warnings(body, "{}"),
        json!({"warnings": ["unknown field \"b\n\" was ignored"]})
    );
}

#[test]
fn a_thousand_unknown_fields_are_no_thousand_warnings() {
    let fields: Vec<_> = (0..1000).map(|n| format!("\"f{n}\":0")).collect();
    let body = format!("{{{}}}", fields.join(","));
    assert_eq!(
        with_warnings(&body, "{}")["warnings"]
            .as_array()
            .unwrap()
            .len(),
        20
    );
}
