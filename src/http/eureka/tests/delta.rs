//! Answers about changes.

use serde_json::Value;

use super::{read, register};
use crate::http::testing::Api;

/// App, id and change of each instance of an answer.
fn changes(answer: &Value) -> Vec<String> {
    let apps = answer["applications"]["application"]
        .as_array()
        .unwrap()
        .iter();
    let instances = apps.flat_map(|app| app["instance"].as_array().unwrap());
    let change = |one: &Value| {
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        format!("{} {}", text("instanceId"), text("actionType"))
    };
    let mut changes: Vec<_> = instances.map(change).collect();
    changes.sort();
    changes
}

#[tokio::test]
async fn a_delta_has_the_last_change_of_each_instance() {
    let api = Api::new();
    register(&api, "o-1", "ORDERS", "UP", 1).await;
    register(&api, "o-2", "ORDERS", "UP", 1).await;
    register(&api, "o-2", "ORDERS", "DOWN", 1).await;
    register(&api, "o-3", "ORDERS", "UP", 1).await;
    api.expect(200, "DELETE", "/eureka/apps/ORDERS/o-3", "")
        .await;
    let delta = read(&api, "/eureka/apps/delta").await;
    assert_eq!(
        changes(&delta),
        ["o-1 ADDED", "o-2 MODIFIED", "o-3 DELETED"]
    );
    let code = &delta["applications"]["apps__hashcode"];
    assert_eq!(code, "DOWN_1_UP_1_");
    assert_eq!(
        *code,
        read(&api, "/eureka/apps").await["applications"]["apps__hashcode"]
    );
    // The kept answer is not used for another place of the log, and clients see that it is another one.
    let version = delta["applications"]["versions__delta"].clone();
    register(&api, "o-4", "ORDERS", "UP", 1).await;
    let delta = read(&api, "/eureka/apps/delta").await;
    assert!(changes(&delta).contains(&"o-4 ADDED".to_owned()));
    assert_ne!(delta["applications"]["versions__delta"], version);
}

#[tokio::test]
async fn a_delta_is_everything_when_the_log_is_too_short() {
    let registry = crate::registry::Config {
        log_entries_max: 3.into(),
        ..crate::registry::Config::default()
    };
    let api = Api::with_registry(crate::http::Config::default(), registry);
    for id in ["o-1", "o-2", "o-3", "o-4", "o-5"] {
        register(&api, id, "ORDERS", "UP", 1).await;
    }
    api.expect(200, "DELETE", "/eureka/apps/ORDERS/o-1", "")
        .await;
    let delta = read(&api, "/eureka/apps/delta").await;
    let expected = [
        "o-1 DELETED",
        "o-2 ADDED",
        "o-3 ADDED",
        "o-4 ADDED",
        "o-5 ADDED",
    ];
    assert_eq!(changes(&delta), expected);
}
