use super::Metadata;

#[test]
fn white_space_is_removed_and_strings_and_numbers_are_kept() {
    check("{}", "{}");
    check(" { \"a\" : [ 1 , 2.50 ] }\n", r#"{"a":[1,2.50]}"#);
    check(
        r#"{"a b": "c \" d \\"  , "e": " "}"#,
        r#"{"a b":"c \" d \\","e":" "}"#,
    );
    check(
        r#"{"n": 123456789012345678901234567890}"#,
        r#"{"n":123456789012345678901234567890}"#,
    );

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Metadata::parse(text).unwrap().as_str(), expected);
    }
}

#[test]
fn what_is_refused() {
    for text in ["", "[]", "1", "null", "{", "{\"a\":}"] {
        assert!(Metadata::parse(text).is_err(), "{text:?}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    assert!(Metadata::parse(&deep).is_err(), "nested too deep");
}

#[test]
fn order_of_keys_does_not_matter() {
    let one = Metadata::parse(r#"{"a":1,"b":2}"#).unwrap();
    let two = Metadata::parse(r#"{"b":2,"a":1}"#).unwrap();
    assert!(one.same_as(&two));
    assert!(!one.same_as(&Metadata::parse(r#"{"a":1,"b":3}"#).unwrap()));
    let long = |last| Metadata::parse(&format!(r#"{{"n":1234567890123456789012{last}}}"#)).unwrap();
    assert!(!long(3).same_as(&long(4)), "no digit is lost");
    assert!(long(3).has("n", "12345678901234567890123"));
}

#[test]
fn values_are_found_by_key() {
    let metadata = Metadata::parse(r#"{"zone":"eu","n":7,"on":true}"#).unwrap();
    assert!(metadata.has("zone", "eu"));
    assert!(metadata.has("n", "7"));
    assert!(metadata.has("on", "true"));
    assert!(!metadata.has("zone", "us"));
    assert!(!metadata.has("eu", "zone"));
}

#[test]
fn metadata_that_later_lookups_could_not_read_is_refused() {
    for text in [r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, "{\"a\":\"\u{1}\"}"] {
        assert!(Metadata::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    check(r#"{"a": 1, "b": 2, "a": 3}"#, r#"{"a":3,"b":2}"#);
    check(r#"{"\u0061": {} , "a": [ ]}"#, r#"{"a":[]}"#);
    check(
        r#"{"in": [ {"a": 1.50, "a" : {"b": "x y", "b": "\"" } }, {} ], "n": null}"#,
        r#"{"in":[{"a":{"b":"\""}},{}],"n":null}"#,
    );

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let metadata = Metadata::parse(text).unwrap();
        assert_eq!(metadata.as_str(), expected);
        assert!(metadata.same_as(&Metadata::parse(expected).unwrap()));
    }
}
