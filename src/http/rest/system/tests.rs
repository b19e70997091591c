use serde_json::json;

use crate::http::{config::Config, testing::Api};

#[tokio::test]
async fn limits_are_those_of_every_room_and_of_this_one() {
    let api = Api::new();
    let limits = api.expect(200, "GET", "/system/limits", "").await.json;
    let of = |name: &str| {
        let limits = limits["limits"].as_array().unwrap();
        let found = limits.iter().find(|one| one["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name}: {limits:?}"))
            .clone()
    };
    assert_eq!(of("seats")["used"], 3);
    assert_eq!(of("streams and long polls")["max"], 16_384);
    assert_eq!(of("HTTP connections")["key"], "http.connections_max");
}

#[tokio::test]
async fn the_configuration_in_effect_names_the_source_of_each_value() {
    let config = Config {
        dashboard: crate::http::DashboardMode::Read,
        ..Config::default()
    };
    let answer = Api::with(config)
        .expect(200, "GET", "/system/config", "")
        .await
        .json;
    let expected = json!([{
        "key": "stage.seats_max", "value": "4", "source": "command line", "default": "8",
        "about": "The most seats",
    }]);
    assert_eq!(answer["settings"], expected);
    assert_eq!(answer["dashboard"], "read");
}
