//! Requests with wrong tokens, with none, and without authentication.

use super::*;

#[tokio::test(start_paused = true)]
async fn another_scheme_and_a_wrong_token_for_an_open_path_do_not_count() {
    let api = api();
    let ask = async |headers: &[(&str, &str)], path: &str| api.ask("GET", path, headers, "").await;
    let guessed = [("authorization", "Bearer guessed-0123456789")];
    for _ in 0..25 {
        for path in ["/health", "/ready"] {
            let answered = ask(&guessed, path).await;
            assert_eq!(answered.status, 200, "{path}");
        }
        let basic = ask(&[("authorization", "Basic YTpi")], "/services").await;
        assert_eq!(basic.status, 401);
    }
    assert_eq!(ask(&guessed, "/services").await.status, 401);
    assert_eq!(
        ask(&guessed, "/ready").await.json,
        ask(&[], "/ready").await.json,
        "as for anybody"
    );
    // A proxy's own login beside the token.
    let right = secret("reader");
    let both = [("authorization", "Basic YTpi"), ("x-consul-token", &*right)];
    assert_eq!(ask(&both, "/services").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_401_and_too_many_are_429() {
    let api = api();
    let ask = async |headers: &[(&str, &str)], path: &str| api.ask("GET", path, headers, "").await;
    let anonymous = ask(&[], "/services").await;
    assert_eq!(anonymous.status, 401);
    assert_eq!(anonymous.header("www-authenticate"), "Bearer");
    assert_eq!(anonymous.header("content-type"), "application/problem+json");
    let right = secret("reader");
    let bearer = format!("bearer {right}");
    for headers in [[("authorization", &*bearer)], [("x-consul-token", &*right)]] {
        assert_eq!(ask(&headers, "/services").await.status, 200, "{headers:?}");
    }
    let in_query = format!("/services?token={right}");
    assert_eq!(
        ask(&[], &in_query).await.status,
        401,
        "only streams take it from there"
    );
    let preflight = [
        ("origin", "http://localhost:1"),
        ("access-control-request-method", "GET"),
    ];
    let answered = api.ask("OPTIONS", "/services", &preflight, "").await;
    assert_eq!(answered.status, 200, "a preflight has no token");
    for _ in 0..20 {
        let refused = ask(
            &[("authorization", "Bearer guessed-0123456789")],
            "/services",
        )
        .await;
        assert_eq!(refused.status, 401);
        assert!(!refused.json.to_string().contains("guessed"));
    }
    let guessed = [("authorization", "Bearer guessed-0123456789")];
    let refused = ask(&guessed, "/services").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("retry-after"), "4");
    assert_eq!(ask(&guessed, "/health").await.status, 200);
    let basic = ask(&[("authorization", "Basic YTpi")], "/services").await;
    assert_eq!(basic.status, 401);
    assert_eq!(
        ask(&[("x-consul-token", &right)], "/services").await.status,
        200
    );
}

#[tokio::test]
async fn readiness_shows_its_parts_to_those_who_may_read_the_system() {
    let api = api();
    let parts = async |name: &str| {
        let (code, ready) = ask(&api, name, "GET", "/ready", &Value::Null).await;
        (code, ready["checks"].as_array().unwrap().len())
    };
    assert_eq!(parts("reader").await, (200, 1));
    assert_eq!(parts("web").await, (200, 0));
    let anonymous = api.expect(200, "GET", "/ready", "").await;
    assert_eq!(anonymous.json["checks"], json!([]));
    assert_eq!(anonymous.json["status"], "ready");
}

#[tokio::test]
async fn without_authentication_nobody_is_asked_and_no_token_is_made() {
    let api = Api::new();
    let whoami = api.expect(200, "GET", "/auth/whoami", "").await;
    assert_eq!(whoami.json["authentication"], false);
    let body = json!({"name": "ci", "policies": ["reader"]}).to_string();
    let refused = api.expect(409, "POST", "/auth/tokens", body).await;
    assert!(
        refused.json["detail"]
            .as_str()
            .unwrap()
            .contains("security.auth")
    );
    api.expect(409, "POST", "/auth/ticket", "").await;
    let ignored = api
        .ask("GET", "/services", &[("authorization", "Bearer x")], "")
        .await;
    assert_eq!(ignored.status, 200);
}
