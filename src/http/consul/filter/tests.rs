use serde_json::json;

use super::FilterExpression;

#[track_caller]
fn check(expression: &str, expected: bool) {
    let item = json!({
        "Node": {"Node": "n1", "Meta": {"rack": "7"}},
        "Service": {
            "Service": "web", "Port": 8080, "Tags": ["v1", "primary"], "Address": "",
            "Meta": {"env": "prod", "a b": "x", "with.dot": "y"}, "EnableTagOverride": false,
        },
        "Checks": [],
    });
    let parsed =
        FilterExpression::parse(expression).unwrap_or_else(|fault| panic!("{expression}: {fault}"));
    assert_eq!(parsed.is_true(&item), expected, "{expression}");
}

#[test]
fn expressions_are_true_or_false_of_an_item() {
    for (expression, expected) in [
        (r#"Service.Service == "web""#, true),
        (r#"Service.Service == web"#, true),
        (r#"Service.Service != "web""#, false),
        (r#"Service.Port == 8080"#, true),
        (r#"Service.Port != 80"#, true),
        (r#"Service.EnableTagOverride == false"#, true),
        (r#""v1" in Service.Tags"#, true),
        (r#"v1 in Service.Tags"#, true),
        (r#""v2" not in Service.Tags"#, true),
        (r#"Service.Tags contains "primary""#, true),
        (r#"Service.Tags not contains "primary""#, false),
        (r#""env" in Service.Meta"#, true),
        (r#"Service.Meta contains "nothing""#, false),
        (r#"Service.Service matches "^w.b$""#, true),
        (r#"Service.Service not matches `^w\d`"#, true),
        (r#"Service.Address is empty"#, true),
        (r#"Checks is empty and Service.Tags is not empty"#, true),
        (r#"Service.Meta.env == "prod""#, true),
        (r#"Service.Meta["a b"] == "x""#, true),
        (r#"Service["Meta"].env == "prod""#, true),
        (r#""/Service/Meta/with.dot" == "y""#, true),
        // A key that is missing equals nothing.
        (r#"Service.Meta.absent == "x""#, false),
        (r#"Service.Meta.absent != "x""#, true),
        (r#"Service.Meta.absent is empty"#, true),
        (r#"Service.Meta.absent is not empty"#, false),
        (r#"not Service.Service == "web""#, false),
        (
            r#"not (Service.Service == "db" or Service.Port == 1)"#,
            true,
        ),
        // `and` binds more than `or`, `not` more than both.
        (
            r#"Service.Port == 1 and Service.Port == 2 or Service.Port == 8080"#,
            true,
        ),
        (
            r#"Service.Port == 8080 or Service.Port == 1 and Service.Port == 2"#,
            true,
        ),
        (r#"not Service.Port == 1 and Service.Port == 8080"#, true),
        (r#"(((Service.Port == 8080)))"#, true),
        (r#"Service.Service=="web"and Service.Port==8080"#, true),
        (r#"Service.Service == "w\"eb""#, false),
    ] {
        check(expression, expected);
    }
}

#[test]
fn a_malformed_expression_names_the_place() {
    for (expression, place, says) in [
        ("", "1:1:", "expected a name"),
        ("Service.Service", "1:16:", "expected =="),
        (
            "Service.Service == ",
            "1:20:",
            "expected a name of a field or a value",
        ),
        ("Service.Service == \"web", "1:20:", "end of a text"),
        ("(Service.Port == 1", "1:19:", "expected \")\""),
        ("Service.Port == 1)", "1:18:", "\"and\", \"or\" or the end"),
        ("Service.Port is full", "1:17:", "\"empty\""),
        ("Service.Port === 1", "1:16:", "expected a name"),
        ("Service.Port matches \"[\"", "1:22:", "regular expression"),
        (
            "Service.Port == 1 xor Service.Port == 2",
            "1:19:",
            "\"and\", \"or\" or the end",
        ),
        ("\"web\" == Service.Service", "1:9:", "is a value"),
        ("Service..Port == 1", "1:1:", "expected a name"),
        ("Service[\"Meta\" == 1", "1:16:", "expected \"]\""),
    ] {
        let fault = FilterExpression::parse(expression).unwrap_err().to_string();
        assert!(
            fault.starts_with(place) && fault.contains(says),
            "{expression}: {fault}"
        );
    }
}

#[test]
fn length_depth_and_regular_expressions_are_bounded() {
    let deep = format!("{}A == 1{}", "(".repeat(100), ")".repeat(100));
    let fault = FilterExpression::parse(&deep).unwrap_err().to_string();
    assert!(fault.contains("nested deeper"), "{fault}");
    let not = format!("{}A == 1", "not ".repeat(100));
    assert!(FilterExpression::parse(&not).is_err());
    let wide = vec!["A == 1"; 400].join(" or ");
    assert!(FilterExpression::parse(&wide).is_ok());
    let long = "A == 1 or ".repeat(1000);
    let fault = FilterExpression::parse(&long).unwrap_err().to_string();
    assert!(fault.contains("longer than"), "{fault}");
    let fault = FilterExpression::parse(r#"A matches "(a{1000}){1000}""#).unwrap_err();
    assert!(fault.to_string().contains("moderate"), "{fault}");
}
