use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    http::{
        HeaderName, Response,
        header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY},
    },
};
use serde_json::json;

use crate::http::{
    config::Config,
    serve::{
        AccessError,
        cors::{Cors, CorsError},
    },
    testing::Api,
};

const PAGE: (&str, &str) = ("origin", "https://ops.example.com");
const LOCAL: (&str, &str) = ("origin", "http://localhost:3000");

fn with_cors(cors: &Cors) -> Config {
    Config {
        cors: cors.clone(),
        ..Config::default()
    }
}

fn with(cors: &Cors) -> Api {
    Api::with(with_cors(cors))
}

fn preflight(
    page: (&'static str, &'static str),
    method: &'static str,
) -> [(&'static str, &'static str); 3] {
    [
        page,
        ("access-control-request-method", method),
        ("access-control-request-headers", "content-type, x-own"),
    ]
}

#[tokio::test]
async fn local_pages_may_ask_by_default() {
    let api = Api::new();
    for path in ["/services/register", "/services/a", "/health", "/nothing"] {
        let answered = api
            .ask("OPTIONS", path, &preflight(LOCAL, "POST"), "")
            .await;
        assert_eq!(answered.status, 200, "{path}");
        assert_eq!(answered.header("access-control-allow-origin"), LOCAL.1);
        let methods = answered.header("access-control-allow-methods");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(methods.contains(method), "{methods}");
        }
        assert!(!methods.contains('*'), "by name: {methods}");
        assert_eq!(
            answered.header("access-control-allow-headers"),
            "content-type, x-own"
        );
        assert_eq!(answered.header("access-control-max-age"), "600");
        assert_eq!(answered.header("access-control-allow-credentials"), "");
        let other = api
            .ask("OPTIONS", path, &preflight(PAGE, "DELETE"), "")
            .await;
        assert_eq!(other.header("access-control-allow-origin"), "");
    }
    let answered = api.ask("GET", "/health", &[LOCAL], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), LOCAL.1);
    let exposed = answered.header("access-control-expose-headers");
    for header in ["x-muster-index", "x-musterd-warnings"] {
        assert!(exposed.contains(header), "{exposed}");
    }
    let answered = api.ask("GET", "/health", &[PAGE], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_page_may_ask_when_all_are_listed() {
    let api = with(&Cors {
        origins: vec!["*".to_owned()],
        ..Cors::default()
    });
    for page in [PAGE, LOCAL, ("origin", "null")] {
        let answered = api.ask("GET", "/health", &[page], "").await;
        assert_eq!(answered.header("access-control-allow-origin"), "*");
        let changed = api.ask("DELETE", "/services/a", &[page], "").await;
        assert_eq!(changed.status, 404, "{page:?}");
    }
}

/// The fast path and the router refuse alike, and nothing is changed.
#[tokio::test]
async fn a_refused_request_does_not_reach_its_route() {
    let api = Api::new();
    api.register("web", "web-1", &json!({})).await;
    let instance = json!({"service_id": "web-2", "service_name": "web", "host": "h", "port": 1});
    let foreign = &[PAGE, ("content-type", "text/plain")][..];
    let rebound = &[
        ("host", "rebound.example:8000"),
        ("origin", "http://rebound.example:8000"),
    ][..];
    let cross_site = &[("sec-fetch-site", "cross-site")][..];
    for (headers, code) in [(foreign, 403), (rebound, 421), (cross_site, 403)] {
        for (method, path) in [
            ("POST", "/services/register"),
            ("POST", "/services/web-1/heartbeat"),
            ("DELETE", "/services/web-1"),
            ("PUT", "/transport"),
            ("POST", "/watchers"),
            ("DELETE", "/broker/queues/a/b"),
        ] {
            let answered = api.ask(method, path, headers, instance.to_string()).await;
            assert_eq!(answered.status, code, "{method} {path} {headers:?}");
            assert_eq!(answered.header("content-type"), "application/problem+json");
            assert_eq!(answered.header("access-control-allow-origin"), "");
        }
    }
    let read = api
        .ask("GET", "/services/discover/web", &[rebound[0]], "")
        .await;
    assert_eq!(read.status, 421, "also where the fast path answers");
    let web = api.expect(200, "GET", "/services/discover/web", "").await;
    assert_eq!(web.json["total_count"], 1);
    let text = api.shared.metrics.render();
    let counted =
        r#"musterd_http_requests_total{code="4xx",method="POST",route="/services/register"} 3"#;
    assert!(text.contains(counted), "{text}");
}

#[tokio::test]
async fn a_listed_page_can_read_why_its_body_is_refused() {
    let api = Api::new();
    let typed = [LOCAL, ("content-type", "text/plain")];
    let answered = api.ask("POST", "/services/register", &typed, "{}").await;
    assert_eq!(answered.status, 415);
    assert_eq!(answered.header("access-control-allow-origin"), LOCAL.1);
    let others = [("content-type", "text/plain")];
    let answered = api.ask("POST", "/services/register", &others, "{}").await;
    assert_eq!(answered.status, 422, "curl -d sends a form");
}

#[tokio::test]
async fn an_error_is_readable_for_a_page_too() {
    let api = Api::new();
    let answered = api.ask("GET", "/services/unknown", &[LOCAL], "").await;
    assert_eq!(answered.status, 404);
    assert_eq!(answered.header("access-control-allow-origin"), LOCAL.1);
}

/// Unknown parameters are named, decoded names compared; what is known by one method is not by another.
#[tokio::test]
async fn an_unknown_query_parameter_is_named_in_a_header() {
    let api = Api::new();
    api.register("web", "web-1", &json!({})).await;
    let long = "x".repeat(100);
    let many: Vec<_> = (0..20).map(|n| format!("{long}{n}=1")).collect();
    for (method, path, named) in [
        ("GET", "/services/discover/web?healthy_only=true", &[][..]),
        (
            "GET",
            "/services/discover/web?metadata.a=1&tag=x&limit=1",
            &[],
        ),
        (
            "GET",
            "/services/discover/web?helthy_only=false",
            &["helthy_only"],
        ),
        (
            "HEAD",
            "/services/discover/web?helthy_only=false",
            &["helthy_only"],
        ),
        ("GET", "/services/healthy/web?zon=a", &["zon"]),
        ("GET", "/events?sinse=1&limt=2&limit=1", &["limt", "sinse"]),
        ("GET", "/services?limit=1", &["limit"]),
        ("GET", "/broker/queues?vhots=a", &["vhots"]),
        (
            "POST",
            "/services/web-1/heartbeat?incarnatoin=1",
            &["incarnatoin"],
        ),
        ("GET", "/services/web-1?incarnation=1", &["incarnation"]),
        ("GET", "/health?%22%0a=1", &["%22%0a"]),
        ("GET", "/nothing?a=1", &[]),
    ] {
        let answered = api.ask(method, path, &[], "").await;
        let warned = answered.header("x-musterd-warnings");
        let sentence =
            |name: &&str| format!("query parameter \"{name}\" is unknown and was ignored");
        let expected: Vec<_> = named.iter().map(sentence).collect();
        assert_eq!(warned, expected.join("; "), "{method} {path}");
    }
    let path = "/services/discover/web?wait=1s&x=1";
    let answered = api.ask("GET", path, &[], "").await;
    let warned = answered.header("x-musterd-warnings");
    let expected = "query parameter \"x\" is unknown and was ignored; \"wait\" has no effect without \"index\"";
    assert_eq!(warned, expected);
    let path = format!("/services?{}", many.join("&"));
    let answered = api.ask("GET", &path, &[], "").await;
    let warned = answered.header("x-musterd-warnings");
    assert_eq!(warned.matches("unknown").count(), 8, "{warned}");
    assert!(warned.len() < 1000, "{warned}");
}

/// Every header that GET sends, also where the answer is compressed or a stream.
#[tokio::test]
async fn head_answers_as_get_without_the_body() {
    let api = Api::new();
    for n in 0..50 {
        api.register(
            "web",
            &format!("web-{n}"),
            &json!({"metadata": {"k": "x".repeat(100)}}),
        )
        .await;
    }
    for path in [
        "/health",
        "/openapi.json",
        "/docs",
        "/services",
        "/services/web-1",
        "/services/discover/web",
        "/gateway/config",
        "/events",
        "/watchers",
        "/watch?service=web",
        "/gateway/watch",
        "/nothing",
        "/services/register",
    ] {
        for encoding in ["gzip", "identity"] {
            let headers = [("accept-encoding", encoding)];
            let get = api.answered("GET", path, &headers).await;
            let head = api.answered("HEAD", path, &headers).await;
            assert_eq!(head.status(), get.status(), "{path}");
            let size = get.body().size_hint().exact();
            let kept = |response: &Response<Body>, name: HeaderName| {
                let values = response.headers().get_all(name).iter();
                values.cloned().collect::<Vec<_>>()
            };
            for name in [CONTENT_TYPE, CONTENT_ENCODING, VARY, ALLOW, CACHE_CONTROL] {
                let what = format!("{path} {encoding} {name}");
                assert_eq!(kept(&head, name.clone()), kept(&get, name), "{what}");
            }
            let length = head.headers().get(CONTENT_LENGTH);
            let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
            assert_eq!(length, size, "{path} {encoding}");
            assert!(head.body().is_end_stream(), "{path}");
        }
    }
    let watchers = api.shared.metrics.render();
    for kind in ["sse", "gateway"] {
        let none = format!("musterd_watchers{{kind=\"{kind}\"}} 0");
        assert!(watchers.contains(&none), "none is left of HEAD: {watchers}");
    }
}

#[tokio::test]
async fn options_of_the_whole_server_are_answered() {
    let answered = Api::new().ask("OPTIONS", "*", &[], "").await;
    assert_eq!(answered.status, 204);
    assert!(answered.header("allow").contains("OPTIONS"));
}

#[tokio::test]
async fn a_request_without_origin_gets_no_cors() {
    let answered = Api::new().ask("GET", "/health", &[], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn options_that_are_no_preflight_say_what_is_allowed() {
    let api = Api::new();
    for headers in [
        &[][..],
        &[LOCAL][..],
        &[PAGE][..],
        &[("access-control-request-method", "GET")][..],
    ] {
        let answered = api.ask("OPTIONS", "/services/register", headers, "").await;
        assert_eq!(answered.status, 204);
        assert_eq!(answered.header("allow"), "POST,OPTIONS");
        assert_eq!(answered.header("access-control-allow-methods"), "");
        assert!(answered.bytes.is_empty());
    }
    let answered = api.ask("OPTIONS", "/health", &[], "").await;
    assert_eq!(answered.header("allow"), "GET,HEAD,OPTIONS");
    assert_eq!(api.ask("OPTIONS", "/nothing", &[], "").await.status, 404);
}

#[tokio::test]
async fn only_the_named_pages_when_they_are_named() {
    let api = with(&Cors {
        origins: vec!["https://ops.example.com".to_owned()],
        methods: vec!["GET".to_owned()],
        headers: vec!["content-type".to_owned()],
        credentials: true,
        max_age: Duration::from_secs(5).into(),
    });
    let answered = api
        .ask("OPTIONS", "/health", &preflight(PAGE, "GET"), "")
        .await;
    assert_eq!(answered.header("access-control-allow-origin"), PAGE.1);
    assert_eq!(answered.header("access-control-allow-credentials"), "true");
    assert_eq!(answered.header("access-control-allow-methods"), "GET");
    assert_eq!(
        answered.header("access-control-allow-headers"),
        "content-type"
    );
    assert_eq!(answered.header("access-control-max-age"), "5");
    let other = [("origin", "https://evil.example.com")];
    let answered = api.ask("GET", "/health", &other, "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn the_policy_can_change() {
    let api = Api::new();
    let app = crate::http::state::HttpApp {
        state: api.shared.clone(),
    };
    let mut cors = Cors {
        origins: vec!["https://a.example.com".to_owned()],
        ..Cors::default()
    };
    app.reload(&with_cors(&cors)).unwrap();
    let answered = api.ask("GET", "/health", &[PAGE], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
    cors.origins = vec!["*".to_owned()];
    cors.credentials = true;
    assert!(matches!(
        app.reload(&with_cors(&cors)),
        Err(AccessError::Cors(CorsError::AnyWithCredentials))
    ));
    let page = [("origin", "https://a.example.com")];
    let answered = api.ask("GET", "/health", &page, "").await;
    assert_eq!(
        answered.header("access-control-allow-origin"),
        page[0].1,
        "the old one stays"
    );
}

#[tokio::test]
async fn request_ids_are_taken_over_or_made() {
    let api = Api::new();
    let given = [("x-request-id", "order-7")];
    let answered = api.ask("GET", "/health", &given, "").await;
    assert_eq!(answered.header("x-request-id"), "order-7");
    let one = api.ask("GET", "/health", &[], "").await;
    let two = api.ask("GET", "/nothing", &[], "").await;
    assert_eq!(one.header("x-request-id").len(), 16);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    let long = "x".repeat(129);
    let answered = api
        .ask("GET", "/health", &[("x-request-id", &*long)], "")
        .await;
    assert_eq!(answered.header("x-request-id").len(), 16);
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_ask() {
    let api = Api::new();
    for n in 0..50 {
        api.register("a", &format!("a-{n}"), &json!({})).await;
    }
    let gzip = [("accept-encoding", "br, gzip")];
    let path = "/services/discover/a";
    let small = api.ask("GET", path, &gzip, "").await;
    let large = api.ask("GET", path, &[], "").await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert_eq!(small.bytes[..2], [0x1f, 0x8b]);
    assert!(small.bytes.len() * 4 < large.bytes.len());
    assert_eq!(large.header("content-encoding"), "");
    for answered in [&small, &large] {
        let vary: Vec<_> = answered.headers.get_all("vary").iter().collect();
        assert_eq!(
            vary,
            ["accept-encoding"],
            "both with and without compression"
        );
    }
    let refused = [("accept-encoding", "gzip;q=0")];
    let answered = api.ask("GET", path, &refused, "").await;
    assert_eq!(answered.header("content-encoding"), "");
    let answered = api.ask("GET", "/health", &gzip, "").await;
    assert_eq!(
        answered.header("content-encoding"),
        "",
        "too small to be worth it"
    );
}
