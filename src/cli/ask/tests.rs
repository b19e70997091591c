use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

use super::{DaemonAddress, expected, printable, problem, refusal};

#[test]
fn a_url_is_used_or_refused_by_what_is_wrong_with_it() {
    taken(
        "http://127.0.0.1:8000",
        ["127.0.0.1:8000", "127.0.0.1:8000", ""],
    );
    taken("http://a.example", ["a.example:80", "a.example", ""]);
    taken("HTTP://[::1]:8000/", ["[::1]:8000", "[::1]:8000", ""]);
    taken("http://[::1]", ["[::1]:80", "[::1]", ""]);
    taken("http://proxy/musterd/", ["proxy:80", "proxy", "/musterd"]);
    taken("127.0.0.1:8000", ["127.0.0.1:8000", "127.0.0.1:8000", ""]);
    taken("https://a.example", ["a.example:443", "a.example", ""]);
    taken("https://[::1]:8443/", ["[::1]:8443", "[::1]:8443", ""]);
    refused("ftp://a.example", "ftp://");
    refused("http://", "no host");
    refused("http://ops:secret@a.example", "user and password");
    refused("http://a.example/?x=1", "query");

    #[track_caller]
    fn taken(url: &str, [address, host, prefix]: [&str; 3]) {
        let target = DaemonAddress::parse(url).unwrap();
        let found = [&target.address, &target.host, &target.prefix];
        assert_eq!(found, [address, host, prefix]);
    }

    #[track_caller]
    fn refused(url: &str, reason: &str) {
        let error = DaemonAddress::parse(url).unwrap_err();
        assert!(
            error.contains(reason) && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn an_answer_of_another_server_is_not_taken_for_that_of_a_daemon() {
    let body = br#"{"detail": "no such channel"}"#;
    let of = |content_type| {
        let value = HeaderValue::from_static(content_type);
        HeaderMap::from_iter([(CONTENT_TYPE, value)])
    };
    let ours = problem(&of("application/problem+json"), body).unwrap();
    let text = refusal(StatusCode::NOT_FOUND, &ours);
    assert_eq!(text, "refused with 404: no such channel");
    assert_eq!(problem(&of("application/json"), body), None);
    assert_eq!(problem(&HeaderMap::new(), body), None);
    assert_eq!(
        problem(&of("application/problem+json"), b"<h1>no</h1>"),
        None
    );

    assert!(expected(br#"{"channels": {}}"#, "channels").is_some());
    for foreign in [&b"{}"[..], b"[]", b"\"channels\"", b"<h1>no</h1>", b""] {
        assert_eq!(expected(foreign, "channels"), None);
    }
}

#[test]
fn text_of_an_answer_cannot_steer_the_terminal() {
    let answer = json!({"a\n": ["x\u{1b}[2J", 1, null, {"b": "\u{9b}c"}]});
    let text = printable(answer).to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.contains("[2J"), "{text}");
}
