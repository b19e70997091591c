use std::time::Duration;

use serde_json::json;

use crate::http::{
    config::Config,
    serve::cors::{Cors, CorsError},
    testing::Api,
};

const PAGE: (&str, &str) = ("origin", "https://ops.example.com");

fn with(cors: Cors) -> Api {
    Api::with(Config {
        cors,
        ..Config::default()
    })
}

fn preflight(method: &'static str) -> [(&'static str, &'static str); 3] {
    [
        PAGE,
        ("access-control-request-method", method),
        ("access-control-request-headers", "content-type, x-own"),
    ]
}

#[tokio::test]
async fn any_page_may_ask_by_default() {
    let api = Api::new();
    for path in ["/services/register", "/services/a", "/health", "/nothing"] {
        let answered = api.ask("OPTIONS", path, &preflight("POST"), "").await;
        assert_eq!(answered.status, 200, "{path}");
        assert_eq!(answered.header("access-control-allow-origin"), "*");
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
    }
    let answered = api.ask("GET", "/health", &[PAGE], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "*");
    assert!(
        answered
            .header("access-control-expose-headers")
            .contains("x-muster-index")
    );
}

#[tokio::test]
async fn an_error_is_readable_for_a_page_too() {
    let api = Api::new();
    let answered = api.ask("GET", "/services/unknown", &[PAGE], "").await;
    assert_eq!(answered.status, 404);
    assert_eq!(answered.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn who_is_no_page_gets_no_cors() {
    let answered = Api::new().ask("GET", "/health", &[], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn options_that_are_no_preflight_say_what_is_allowed() {
    let api = Api::new();
    for headers in [
        &[][..],
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
    let api = with(Cors {
        origins: vec!["https://ops.example.com".to_owned()],
        methods: vec!["GET".to_owned()],
        headers: vec!["content-type".to_owned()],
        credentials: true,
        max_age: Duration::from_secs(5).into(),
    });
    let answered = api.ask("OPTIONS", "/health", &preflight("GET"), "").await;
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
    let door = crate::http::state::HttpApp {
        shared: api.shared.clone(),
    };
    let mut cors = Cors {
        origins: vec!["https://a.example.com".to_owned()],
        ..Cors::default()
    };
    door.set_cors(&cors).unwrap();
    let answered = api.ask("GET", "/health", &[PAGE], "").await;
    assert_eq!(answered.header("access-control-allow-origin"), "");
    cors.origins = vec!["*".to_owned()];
    cors.credentials = true;
    assert!(matches!(
        door.set_cors(&cors),
        Err(CorsError::AnyWithCredentials)
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
        assert_eq!(vary, ["accept-encoding"], "whether it is compressed or not");
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
