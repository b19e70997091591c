use serde_json::json;

use super::PIECE_BYTES;
use crate::{
    api::TargetGroupJson,
    http::{
        rest::admission::tests::{identities, secret},
        testing::Api,
    },
};

async fn addresses(api: &Api, query: &str) -> Vec<String> {
    let answer = api
        .expect(200, "GET", &format!("/v1/sd/prometheus{query}"), "")
        .await;
    let groups: Vec<TargetGroupJson> = serde_json::from_value(answer.json).unwrap();
    groups.into_iter().flat_map(|group| group.targets).collect()
}

#[tokio::test]
async fn instances_are_targets_with_labels() {
    let api = Api::new();
    assert_eq!(addresses(&api, "").await, [""; 0]);
    let more = json!({
        "host": "fd00::1", "port": 9100, "version": "2", "tags": ["a", "b"], "zone": "eu", "weight": 7,
        "metadata": {"team-name": "shop", "n": 1.5, "service": "no"},
    });
    api.register("web", "web-1", &more).await;
    let answer = api.expect(200, "GET", "/v1/sd/prometheus", "").await.json;
    let labels = json!({
        "__meta_musterd_service": "web", "__meta_musterd_service_id": "web-1",
        "__meta_musterd_host": "fd00::1", "__meta_musterd_port": "9100",
        "__meta_musterd_version": "2", "__meta_musterd_health": "healthy",
        "__meta_musterd_weight": "7", "__meta_musterd_tags": ",a,b,", "__meta_musterd_zone": "eu",
        "__meta_musterd_metadata_team_name": "shop", "__meta_musterd_metadata_n": "1.5",
        "__meta_musterd_metadata_service": "no",
    });
    assert_eq!(
        answer,
        json!([{"targets": ["[fd00::1]:9100"], "labels": labels}])
    );
}

#[tokio::test]
async fn targets_are_filtered() {
    let api = Api::new();
    api.register(
        "web",
        "w-1",
        &json!({"host": "10.0.0.1", "port": 1, "tags": ["a"], "zone": "eu"}),
    )
    .await;
    api.register(
        "web",
        "w-2",
        &json!({"host": "10.0.0.2", "port": 2, "tags": ["a", "b"]}),
    )
    .await;
    api.register("db", "d-1", &json!({"host": "10.0.0.3", "port": 3}))
        .await;
    api.register_canary("musterd-canary", &json!({})).await;
    api.expect(
        200,
        "PUT",
        "/services/w-2/override",
        r#"{"status":"stopping"}"#,
    )
    .await;
    for (query, expected) in [
        ("", &["10.0.0.3:3", "10.0.0.1:1", "10.0.0.2:2"][..]),
        ("?service=web", &["10.0.0.1:1", "10.0.0.2:2"]),
        (
            "?service=db&service=web&service=none",
            &["10.0.0.3:3", "10.0.0.1:1", "10.0.0.2:2"],
        ),
        ("?tag=a&tag=b", &["10.0.0.2:2"]),
        ("?zone=eu", &["10.0.0.1:1"]),
        ("?health=healthy", &["10.0.0.3:3", "10.0.0.1:1"]),
        ("?health=stopping&service=web", &["10.0.0.2:2"]),
        ("?health=unhealthy", &[]),
    ] {
        assert_eq!(addresses(&api, query).await, expected, "{query}");
    }
    let wrong = api
        .expect(422, "GET", "/v1/sd/prometheus?health=good", "")
        .await
        .json;
    assert_eq!(wrong["errors"][0]["field"], "health");
}

#[tokio::test]
async fn a_long_list_comes_in_pieces() {
    let api = Api::new();
    let note = "n".repeat(1000);
    for number in 0..200_u32 {
        let more =
            json!({"host": format!("10.0.0.{number}"), "port": 1, "metadata": {"note": note}});
        api.register(
            &format!("s{}", number % 2),
            &format!("i-{number:03}"),
            &more,
        )
        .await;
    }
    let all = addresses(&api, "").await;
    assert!(note.len() * all.len() > 2 * PIECE_BYTES);
    let expected = (0..200).step_by(2).chain((1..200).step_by(2));
    let expected: Vec<_> = expected
        .map(|number| format!("10.0.0.{number}:1"))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn policies_decide_on_the_targets() {
    let api = Api::guarded(identities());
    let header = |name: &str| format!("Bearer {}", secret(name));
    for service in ["web-a", "db"] {
        let body =
            json!({"service_id": service, "service_name": service, "host": "10.0.0.1", "port": 1});
        let admin = header("admin");
        let headers = [("authorization", admin.as_str())];
        let answer = api
            .ask("POST", "/services/register", &headers, body.to_string())
            .await;
        assert_eq!(answer.status, 200);
    }
    for (name, count) in [("admin", 2), ("reader", 2), ("web", 1)] {
        let own = header(name);
        let headers = [("authorization", own.as_str())];
        let answer = api.ask("GET", "/v1/sd/prometheus", &headers, "").await;
        assert_eq!(answer.json.as_array().unwrap().len(), count, "{name}");
    }
    assert_eq!(
        api.ask("GET", "/v1/sd/prometheus", &[], "").await.status,
        401
    );
}
