use axum::{
    body::Body,
    http::{Request, Version},
};

use super::{AccessPolicy, Cors};

fn policy(hosts: &[&str], origins: &[&str]) -> AccessPolicy {
    let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let cors = Cors {
        origins: owned(origins),
        ..Cors::default()
    };
    AccessPolicy::new(&owned(hosts), &cors).unwrap()
}

/// The code with which a request is refused; 200 when it is let through.
fn code(policy: &AccessPolicy, request: &Request<Body>) -> u16 {
    policy
        .judge(request)
        .map_or_else(|refusal| refusal.status(), |()| 200)
}

fn request(start: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Body> {
    let (method, target) = start.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

#[test]
fn a_request_names_one_valid_host() {
    let policy = policy(&["*"], &[]);
    for (hosts, http_11, http_10) in [
        (&[][..], 400, 200),
        (&["localhost"], 200, 200),
        (&["localhost", "localhost"], 400, 400),
        (&["localhost", "example"], 400, 400),
        (&["local host"], 400, 400),
        (&["a b/c@d"], 400, 400),
        (&[""], 400, 400),
        (&["http://localhost"], 400, 400),
        (&["localhost:80:80"], 400, 400),
        (&["[::1]:8000"], 200, 200),
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let mut request = request("GET /health", &headers, "");
        assert_eq!(code(&policy, &request), http_11, "{hosts:?}");
        *request.version_mut() = Version::HTTP_10;
        assert_eq!(code(&policy, &request), http_10, "{hosts:?} with HTTP/1.0");
    }
}

#[test]
fn an_unknown_host_name_gets_421() {
    for (hosts, host, expected) in [
        (&[][..], "localhost", 200),
        (&[], "LocalHost:8000", 200),
        (&[], "localhost.:8000", 200),
        (&[], "a.localhost", 200),
        (&[], "127.0.0.1", 200),
        (&[], "192.0.2.7:8000", 200),
        (&[], "[2001:db8::1]:8000", 200),
        (&[], "rebound.evil.example:8000", 421),
        (&[], "evil-localhost", 421),
        (&[], "localhost.evil.example", 421),
        (&[], "127.0.0.1.evil.example", 421),
        (&[], "musterd", 421),
        (&["musterd", "Registry.example."], "musterd:8000", 200),
        (&["musterd", "Registry.example."], "registry.EXAMPLE", 200),
        (&["musterd"], "a.musterd", 421),
        (&["musterd", "*"], "evil.example", 200),
    ] {
        let policy = policy(hosts, &[]);
        let asked = request("GET /health", &[("host", host)], "");
        assert_eq!(code(&policy, &asked), expected, "{hosts:?} {host}");
        // An absolute target wins over the header (RFC 9112, section 3.2.2).
        let target = format!("GET http://{host}/health");
        let asked = request(&target, &[("host", "localhost")], "");
        assert_eq!(code(&policy, &asked), expected, "{hosts:?} {target}");
    }
}

#[test]
fn names_of_the_configuration_are_host_names() {
    for (host, is_one) in [
        ("musterd", true),
        ("*", true),
        ("192.0.2.1", true),
        ("musterd:8000", false),
        ("*.example.com", false),
        ("http://a", false),
        ("", false),
    ] {
        let made = AccessPolicy::new(&[host.to_owned()], &Cors::default());
        assert_eq!(made.is_ok(), is_one, "{host}");
        if let Err(error) = made {
            assert!(error.to_string().starts_with("http.hosts: "), "{error}");
        }
    }
}

/// Who sends a request: its Origin and its Sec-Fetch-Site.
type Sender = (Option<&'static str>, Option<&'static str>);

fn from((origin, site): Sender) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![
        ("host", "127.0.0.1:8000"),
        ("content-type", "application/json"),
    ];
    headers.extend(origin.map(|origin| ("origin", origin)));
    headers.extend(site.map(|site| ("sec-fetch-site", site)));
    headers
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn pages_of_other_origins_change_nothing() {
    let listed = policy(&[], &["https://ops.example.com"]);
    let default = AccessPolicy::new(&[], &Cors::default()).unwrap();
    let any = policy(&[], &["*"]);
    let evil = Some("https://evil.example");
    for (sender, by_list, by_default, by_any) in [
        ((None, None), 200, 200, 200),
        ((None, Some("none")), 200, 200, 200),
        ((None, Some("same-origin")), 200, 200, 200),
        ((None, Some("cross-site")), 403, 403, 403),
        ((evil, None), 403, 403, 200),
        ((evil, Some("cross-site")), 403, 403, 200),
        ((evil, Some("same-origin")), 403, 403, 200),
        ((Some("null"), None), 403, 403, 200),
        (
            (Some("http://127.0.0.1:8000"), Some("same-origin")),
            200,
            200,
            200,
        ),
        (
            (Some("http://127.0.0.1:8000"), Some("cross-site")),
            403,
            200,
            200,
        ),
        (
            (Some("http://127.0.0.1:9000"), Some("same-site")),
            403,
            200,
            200,
        ),
        ((Some("http://127.0.0.1"), None), 403, 200, 200),
        (
            (Some("http://localhost:3000"), Some("cross-site")),
            403,
            200,
            200,
        ),
        (
            (Some("http://[::1]:3000"), Some("cross-site")),
            403,
            200,
            200,
        ),
        ((Some("http://localhost.evil.example"), None), 403, 403, 200),
        (
            (Some("http://localhost:3000.evil.example"), None),
            403,
            403,
            200,
        ),
        ((Some("http://localhost@evil.example"), None), 403, 403, 200),
        (
            (Some("https://ops.example.com"), Some("cross-site")),
            200,
            403,
            200,
        ),
        ((Some("https://ops.example.com:444"), None), 403, 403, 200),
    ] {
        let headers = from(sender);
        for change in [
            "POST /services/register",
            "DELETE /services/a",
            "PUT /transport",
            "PATCH /services/a",
            "POST /services/a/heartbeat",
        ] {
            let asked = request(change, &headers, "{}");
            let found = [&listed, &default, &any].map(|policy| code(policy, &asked));
            assert_eq!(found, [by_list, by_default, by_any], "{change} {sender:?}");
        }
        let mut socket = headers.clone();
        socket.extend([("connection", "Upgrade"), ("upgrade", "websocket")]);
        let asked = request("GET /watch/ws", &socket, "");
        let found = [&listed, &default, &any].map(|policy| code(policy, &asked));
        assert_eq!(found, [by_list, by_default, by_any], "WebSocket {sender:?}");
        for read in ["GET /services", "HEAD /services", "OPTIONS /services"] {
            let asked = request(read, &headers, "");
            let found = [&listed, &default, &any].map(|policy| code(policy, &asked));
            assert_eq!(found, [200; 3], "{read} {sender:?}");
        }
    }
}

#[test]
fn two_origin_headers_are_refused() {
    let own = ("origin", "http://127.0.0.1:8000");
    let mut headers = from((None, None));
    headers.extend([own, own]);
    let policy = policy(&[], &["*"]);
    let asked = request("DELETE /services/a", &headers, "");
    assert_eq!(code(&policy, &asked), 403);
}

#[test]
fn an_origin_is_own_by_its_authority_alone() {
    let policy = policy(&["a.example"], &[]);
    for (host, origin, expected) in [
        ("a.example", "http://a.example", 200),
        ("a.example:80", "http://a.example", 200),
        ("a.example:443", "https://a.example", 200),
        ("a.example", "https://a.example", 200),
        ("A.example.", "http://a.example", 200),
        ("a.example:8000", "http://a.example", 403),
        ("localhost", "http://127.0.0.1", 403),
    ] {
        let headers = [("host", host), ("origin", origin)];
        let asked = request("DELETE /services/a", &headers, "");
        assert_eq!(code(&policy, &asked), expected, "{host} {origin}");
    }
}

#[test]
fn pages_send_json_and_others_what_they_like() {
    let policy = policy(&[], &[]);
    let own = ("origin", "http://localhost");
    let typed = ("sec-fetch-site", "same-origin");
    for (kinds, of_a_page) in [
        (&[][..], 415),
        (&["application/json"], 200),
        (&["Application/JSON; charset=utf-8"], 200),
        (&["application/merge-patch+json"], 200),
        (&["text/plain"], 415),
        (&["text/json"], 415),
        (&["application/x-www-form-urlencoded"], 415),
        (&["application/jsonx"], 415),
        (&["text/plain; a=application/json"], 415),
        (&["application/json", "text/plain"], 415),
    ] {
        for (sender, expected) in [
            (None, 200),
            (Some(own), of_a_page),
            (Some(typed), of_a_page),
        ] {
            let mut headers = vec![("host", "localhost")];
            headers.extend(sender);
            headers.extend(kinds.iter().map(|kind| ("content-type", *kind)));
            let asked = request("POST /services/register", &headers, "{}");
            assert_eq!(code(&policy, &asked), expected, "{kinds:?} {sender:?}");
            let asked = request("POST /services/register", &headers, "");
            assert_eq!(code(&policy, &asked), 200, "no body: {kinds:?} {sender:?}");
        }
    }
}

#[test]
fn checks_and_webhooks_of_a_daemon_only_read() {
    let policy = policy(&[], &[]);
    for (start, from_check, expected) in [
        ("GET /health", true, 200),
        ("HEAD /health", true, 200),
        ("POST /services/a/check", true, 508),
        ("POST /services/a/check", false, 200),
        ("POST /services/a/heartbeat", true, 508),
        ("DELETE /services/a", true, 508),
    ] {
        let mut headers = vec![("host", "127.0.0.1:8000")];
        headers.extend(from_check.then_some(("x-musterd-outbound", "1")));
        let asked = request(start, &headers, "");
        assert_eq!(code(&policy, &asked), expected, "{start} {from_check}");
    }
}
