//! The operations of Eureka need the same rights as those of REST; its clients send a token as a password.

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{NAMES, api, ask, register, secret, verdict};
use crate::http::{eureka, testing::Api};

fn basic(password: &str) -> String {
    let credentials = STANDARD.encode(format!("any:{password}"));
    format!("Basic {credentials}")
}

async fn code(api: &Api, method: &str, path: &str, authorization: &str, body: String) -> u16 {
    let headers = [("authorization", authorization)];
    let answered = api.ask(method, path, &headers, body).await;
    answered.status.as_u16()
}

#[tokio::test]
async fn each_operation_of_eureka_by_each_identity() {
    let api = api();
    let mut seen = 0;
    for route in eureka::routes() {
        seen += 1;
        let expected = match route.method {
            Method::GET => "--rwoa",
            _ => "---woa",
        };
        for (name, letter) in NAMES.iter().zip(expected.chars()) {
            let code = verdict(&api, name, &route.method, &route.path).await;
            let operation = format!("{} {} by {name}", route.method, route.path);
            match (letter, *name) {
                ('-', "anonymous") => assert_eq!(code, 401, "{operation}"),
                ('-', _) => assert_eq!(code, 403, "{operation}"),
                _ => assert!(code != 401 && code != 403, "{operation}: {code}"),
            }
        }
    }
    assert_eq!(seen, 36);
}

#[tokio::test]
async fn a_token_may_be_the_password() {
    let api = api();
    assert_eq!(register(&api, "admin", "pay-1", "pay").await, 200);
    let body = |app: &str| {
        let instance = json!({"instanceId": "i-1", "app": app, "hostName": "127.0.0.1"});
        json!({"instance": instance}).to_string()
    };
    let web = basic(&secret("web"));
    let path = "/eureka/apps/WEB-A";
    assert_eq!(code(&api, "POST", path, &web, body("WEB-A")).await, 204);
    assert_eq!(
        code(
            &api,
            "PUT",
            "/eureka/v2/apps/WEB-A/i-1",
            &web,
            String::new()
        )
        .await,
        200
    );
    // Other apps are neither changed nor shown.
    assert_eq!(
        code(&api, "POST", "/eureka/apps/PAY", &web, body("PAY")).await,
        403
    );
    assert_eq!(
        code(
            &api,
            "DELETE",
            "/eureka/apps/PAY/pay-1",
            &web,
            String::new()
        )
        .await,
        404
    );
    let headers = [("authorization", &*web), ("accept", "application/json")];
    for path in ["/eureka/apps", "/eureka/apps/delta"] {
        let seen = api.ask("GET", path, &headers, "").await.json["applications"].clone();
        assert_eq!(seen["apps__hashcode"], "UP_1_", "{path}");
        assert_eq!(seen["application"].as_array().unwrap().len(), 1, "{path}");
    }
    let (_, all) = ask(&api, "admin", "GET", "/services", &json!(null)).await;
    assert_eq!(all.as_object().unwrap().len(), 2);
    // A password is for this door only, and a wrong one is refused.
    assert_eq!(
        code(&api, "GET", "/services", &web, String::new()).await,
        401
    );
    for wrong in [basic("wrong"), "Basic ???".to_owned(), "Basic".to_owned()] {
        assert_eq!(
            code(&api, "GET", "/eureka/apps", &wrong, String::new()).await,
            401
        );
    }
}
