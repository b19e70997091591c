use std::time::Duration;

use serde_json::{Value, json};

use super::Json;
use crate::model::Timestamp;

#[test]
fn the_writer_adds_the_commas() {
    let mut json = Json::default();
    json.open(b'{');
    json.key("text").text("a");
    json.key("list").open(b'[');
    for number in [1_u64, 2] {
        json.item().value(number);
    }
    json.close(b']');
    json.key("empty").open(b'[');
    json.close(b']');
    json.key("nested").open(b'{');
    json.key("null").value(());
    json.key("flag").value(true);
    json.close(b'}');
    json.key("span").span(Duration::from_secs(300));
    json.key("time").time(Timestamp(0));
    json.close(b'}');
    let value: Value = serde_json::from_slice(&json.into_bytes()).unwrap();
    let expected = json!({
        "text": "a", "list": [1, 2], "empty": [], "nested": {"null": null, "flag": true},
        "span": "300s", "time": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(value, expected);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_back(text: String) {
        let mut out = Vec::new();
        super::text(&mut out, &text);
        let back: String = serde_json::from_slice(&out).unwrap();
        proptest::prop_assert_eq!(back, text);
    }
}
