use proptest::prelude::*;

use super::{ParsedUrl, base64};

#[track_caller]
fn check(url: &str, host: &str, port: u16, tls: bool, path: &str, authority: &str) {
    let parsed = ParsedUrl::parse(url).expect(url);
    assert_eq!(&*parsed.target.host, host, "{url}");
    assert_eq!(parsed.target.port, port, "{url}");
    assert_eq!(parsed.target.tls, tls, "{url}");
    assert_eq!(parsed.path.to_string(), path, "{url}");
    assert_eq!(parsed.authority, authority, "{url}");
}

#[test]
fn urls_are_split_into_their_parts() {
    check("http://a/", "a", 80, false, "/", "a");
    check("http://a", "a", 80, false, "/", "a");
    check("https://a.b?x=1", "a.b", 443, true, "/?x=1", "a.b");
    check("HTTP://a:8080/h?x#frag", "a", 8080, false, "/h?x", "a:8080");
    check("http://[::1]:81/h", "::1", 81, false, "/h", "[::1]:81");
    check(
        "http://u:p@10.0.0.1/h",
        "10.0.0.1",
        80,
        false,
        "/h",
        "10.0.0.1",
    );
}

#[test]
fn credentials_become_a_header_and_are_never_shown() {
    let parsed = ParsedUrl::parse("http://user:p%40ss@a/").expect("a URL");
    let credentials = parsed.credentials.expect("credentials");
    assert_eq!(credentials, "Basic dXNlcjpwQHNz");
    assert!(credentials.is_sensitive());
    let error = ParsedUrl::parse("ftp://user:secret@a/").expect_err("no scheme of ours");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(error.to_string().contains("ftp://a/"), "{error}");
}

#[test]
fn an_invalid_url_is_refused() {
    for url in [
        "",
        "/h",
        "a",
        "a:80",
        "ftp://a/",
        "http://",
        "http:///h",
        "http://:80/",
        "http://a:0/",
        "http://a:70000/",
        "http://a b/",
        "http://a\n/",
        "http://[::1/",
        "http://[]/",
    ] {
        assert!(ParsedUrl::parse(url).is_err(), "{url:?}");
    }
}

#[test]
fn base64_is_that_of_the_specification() {
    for (plain, expected) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ] {
        let mut out = String::new();
        base64(plain.as_bytes(), &mut out);
        assert_eq!(out, expected);
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(http|https)?(://)?\\PC{0,40}") {
        if let Ok(parsed) = ParsedUrl::parse(&text) {
            prop_assert!(parsed.target.port > 0 && !parsed.target.host.is_empty());
        }
    }
}
