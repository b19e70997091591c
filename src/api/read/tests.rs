use std::time::Duration;

use serde_json::value::RawValue;

use super::{ObjectFields, count, flag, line, request, span, text, whole};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

#[test]
fn whole_numbers_in_many_forms() {
    check("8080", Ok(8080));
    check("\"8080\"", Ok(8080));
    check("\" 8080 \"", Ok(8080));
    check("8080.0", Ok(8080));
    check("0", Err("0 is out of range 1-65535"));
    check("70000", Err("70000 is out of range 1-65535"));
    check("-1", Err("-1 is out of range 1-65535"));
    check("1.5", Err("1.5 is not a whole number"));
    check("\"http\"", Err("\"http\" is not a whole number"));
    check("true", Err("must be a number, not true"));
    check("[1]", Err("must be a number, not [1]"));
    check(
        "99999999999999999999",
        Err("99999999999999999999 is out of range 1-65535"),
    );

    #[track_caller]
    fn check(json: &str, expected: Result<i64, &str>) {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(whole(&raw(json), 1_i64, 65_535), expected);
    }
}

#[test]
fn counts_use_all_64_bits() {
    assert_eq!(count(&raw("18446744073709551615")), Ok(u64::MAX));
    assert_eq!(count(&raw("\"7\"")), Ok(7));
    assert!(count(&raw("-7")).is_err());
    assert!(count(&raw("{}")).is_err());
}

#[test]
fn booleans_are_read_in_many_forms() {
    for word in ["true", "1", "\"yes\"", "\"ON\"", "\"True\"", "\"1\""] {
        assert_eq!(flag(&raw(word)), Ok(true), "{word}");
    }
    for word in ["false", "0", "\"no\"", "\"Off\"", "\"FALSE\"", "\"0\""] {
        assert_eq!(flag(&raw(word)), Ok(false), "{word}");
    }
    for word in ["2", "\"maybe\"", "[]", "\"\""] {
        assert!(flag(&raw(word)).is_err(), "{word}");
    }
}

#[test]
fn durations_as_text_or_seconds() {
    check("\"5m\"", Ok(300_000));
    check("30", Ok(30_000));
    check("\"1.5\"", Ok(1_500));
    check("0.5", Err("500ms is out of range 1s-86400s"));
    check("\"2d\"", Err("172800s is out of range 1s-86400s"));
    check(
        "\"soon\"",
        Err("\"soon\" is not a duration: write it as \"5s\", \"500ms\", \"5m\" or \"1h\""),
    );
    check(
        "[]",
        Err("must be a duration such as \"30s\" or a number of seconds, not []"),
    );

    #[track_caller]
    fn check(json: &str, millis: Result<u64, &str>) {
        let range = [Duration::from_secs(1), Duration::from_secs(86_400)];
        let expected = millis.map(Duration::from_millis).map_err(str::to_owned);
        assert_eq!(span(&raw(json), range), expected);
    }
}

#[test]
fn texts_and_their_escapes() {
    assert_eq!(text(&raw(r#""a\u00e9\n""#)).unwrap(), "aé\n");
    assert_eq!(text(&raw("1.0")).unwrap(), "1.0");
    assert!(text(&raw(r#""\ud800""#)).is_err(), "half a character");
    assert!(text(&raw("{}")).is_err());
    assert!(line(&raw(r#""a\u0000""#), 10).is_err(), "control character");
    assert!(line(&raw("\"eleven chars\""), 10).is_err());
    assert_eq!(&*line(&raw("\"ten\""), 10).unwrap(), "ten");
}

#[test]
fn fields_are_found_unknown_ones_named() {
    let body = br#"{"a":1,"x":{"a":2},"status":"?","b":null,"a":3, "y\n":[]}"#;
    let read = request(body, &["status"], |fields| {
        assert_eq!(fields.get("a").unwrap().get(), "3", "the last one counts");
        assert!(fields.get("b").is_none());
        assert!(fields.is_null("b") && fields.has("b"));
        assert!(!fields.is_null("a") && !fields.has("c"));
        fields.warn("a", "is odd");
        Some(())
    });
    let ((), warnings) = read.unwrap();
    let sentences: Vec<_> = warnings.sentences().collect();
    let unknown = |name: &str| format!("unknown field \"{name}\" was ignored");
    assert_eq!(
        sentences,
        [&*unknown("x"), &*unknown("y\n"), "\"a\" is odd"]
    );
}

#[test]
fn a_missing_optional_field_hides_no_fault() {
    let read = request(br#"{"a":1,"b":{"c":true}}"#, &[], |fields| {
        let a = fields.required("a", line_of_ten);
        let missing = fields.required("d", line_of_ten);
        let b = fields.get("b").unwrap();
        fields.nested("b", b, &[], |b| b.required("c", line_of_ten));
        a.and(missing)
    });
    let faults = read.unwrap_err().errors;
    let faults: Vec<_> = faults
        .iter()
        .map(|one| (&*one.field, &*one.message))
        .collect();
    assert_eq!(
        faults,
        [("d", "is required"), ("b.c", "must be a string, not true")]
    );

    fn line_of_ten(value: &RawValue) -> Result<Box<str>, String> {
        line(value, 10)
    }
}

#[test]
fn a_body_other_than_an_object_is_refused() {
    check("", "body is empty, a JSON object is expected");
    check(" \n", "body is empty, a JSON object is expected");
    check("[]", "body must be a JSON object");
    check("\"a\"", "body must be a JSON object");
    check(
        "{\"a\":1",
        "body is not JSON: EOF while parsing an object at line 1 column 6",
    );
    check(
        "{\"a\":1}}",
        "body is not JSON: trailing characters at line 1 column 8",
    );

    #[track_caller]
    fn check(body: &str, detail: &str) {
        let problem = ObjectFields::body(body.as_bytes()).unwrap_err();
        assert_eq!((problem.status, &*problem.detail), (422, detail));
        assert_eq!(problem.errors[0].field, "body");
    }
}

#[test]
fn one_name_many_times_is_refused() {
    let body = format!("{{{}}}", vec!["\"a\":1"; 5000].join(","));
    assert!(ObjectFields::body(body.as_bytes()).is_err());
}

#[test]
fn names_of_unknown_fields_are_bounded() {
    let names = |body: &str| {
        ObjectFields::body(body.as_bytes())
            .unwrap()
            .unread_names(&[])
    };
    let long = format!("{{\"{}\":1}}", "x".repeat(5000));
    assert!(names(&long)[0].len() <= 40);
    let fields: Vec<_> = (0..1000).map(|n| format!("\"x{n}\":1")).collect();
    let many = format!("{{{}}}", fields.join(","));
    assert_eq!(names(&many).len(), 20);
}
