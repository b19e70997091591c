use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::LOCATION};

use super::{Request, Response};

fn answer(status: u16, location: Option<&str>) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(location) = location {
        headers.insert(LOCATION, location.parse().expect("a header"));
    }
    Response {
        status: StatusCode::from_u16(status).expect("a code"),
        headers,
        body: Bytes::new(),
        truncated: false,
        latency: Duration::ZERO,
    }
}

#[test]
fn a_redirect_leads_where_its_location_says() {
    #[track_caller]
    fn check(location: &str, expected: &str) {
        let request = Request::new(Method::GET, "http://u:p@a:80/x/y?z#f");
        let next = request.redirected(&answer(302, Some(location)));
        assert_eq!(&*next.expect("a redirect").url, expected, "{location}");
    }
    check("/new", "http://u:p@a:80/new");
    check("new", "http://u:p@a:80/x/new");
    check("?q", "http://u:p@a:80/x/y?q");
    check("", "http://u:p@a:80/x/y?z");
    check("#part", "http://u:p@a:80/x/y?z");
    check("//b/c", "http://b/c");
    check("https://b/c?d#e", "https://b/c?d");
    check("http://me:secret@b/", "http://b/");
    check("ftp://b/", "ftp://b/");
}

#[test]
fn only_redirects_with_a_location_are_followed() {
    let request = Request::new(Method::GET, "http://a/");
    for (status, location, follows) in [
        (301, Some("/b"), true),
        (302, Some("/b"), true),
        (303, Some("/b"), true),
        (307, Some("/b"), true),
        (308, Some("/b"), true),
        (302, None, false),
        (300, Some("/b"), false),
        (304, Some("/b"), false),
        (200, Some("/b"), false),
    ] {
        let next = request.redirected(&answer(status, location));
        assert_eq!(next.is_some(), follows, "{status} {location:?}");
    }
}

#[test]
fn a_redirect_keeps_the_method_if_its_code_requires_it() {
    for (method, status, expected, is_empty) in [
        (Method::POST, 302, Method::GET, true),
        (Method::POST, 307, Method::POST, false),
        (Method::HEAD, 303, Method::HEAD, false),
        (Method::GET, 301, Method::GET, true),
    ] {
        let mut request = Request::new(method.clone(), "http://a/");
        request.body = Bytes::from_static(b"b");
        let next = request.redirected(&answer(status, Some("/"))).expect("one");
        assert_eq!(next.method, expected, "{method} {status}");
        assert_eq!(next.body.is_empty(), is_empty, "{method} {status}");
    }
}

#[test]
fn secret_headers_are_not_sent_to_another_host() {
    for (location, kept) in [
        ("/b", true),
        ("http://A:80/b", true),
        ("http://b/", false),
        ("https://a/", false),
        ("http://a:81/", false),
    ] {
        let mut request = Request::new(Method::GET, "http://a/");
        for name in [
            "authorization",
            "cookie",
            "host",
            "proxy-authorization",
            "x-api-key",
            "accept",
        ] {
            request.add_header(name, "x").expect("a header");
        }
        let next = request
            .redirected(&answer(302, Some(location)))
            .expect("one");
        assert_eq!(next.headers.len(), if kept { 6 } else { 1 }, "{location}");
        assert!(next.headers.contains_key("accept"), "{location}");
    }
}
