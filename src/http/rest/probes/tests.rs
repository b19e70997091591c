use serde_json::json;

use crate::http::testing::Api;

#[tokio::test]
async fn the_health_of_a_service_has_leases_and_results_of_its_instances() {
    let api = Api::new();
    for (id, ttl) in [("a-1", "60s"), ("a-2", "60s")] {
        api.register("a", id, &json!({ "ttl": ttl })).await;
    }
    let health = api.expect(200, "GET", "/health/a?limit=1", "").await.json;
    assert_eq!(health["total_count"], 2);
    let instances = health["instances"].as_array().unwrap();
    assert_eq!(instances.len(), 1);
    let one = &instances[0];
    assert_eq!(
        (&one["service_id"], &one["status"]),
        (&json!("a-1"), &json!("healthy"))
    );
    let left = one["lease_left_ms"].as_u64().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");
    assert_eq!(one["checks"][0]["results"][0]["passed"], true);
    let wrong = api.expect(422, "GET", "/health/a?limit=0", "").await;
    assert_eq!(wrong.json["errors"][0]["field"], "limit");
    api.expect(404, "GET", "/health/b", "").await;
}
