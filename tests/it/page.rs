//! The page to try the API, in a real browser.

use std::process::Command;

use serde_json::Value;

use crate::daemon::Daemon;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn the_page_lists_every_operation_and_sends_a_request() {
    let daemon = Daemon::start(&[]);
    let output = Command::new("node")
        .arg(format!("{ROOT}/tests/it/page/docs.cjs"))
        .arg(&daemon.url)
        .env("NODE_PATH", format!("{ROOT}/tests/.local/node_modules"))
        .output()
        .expect("node is there: run tests/setup");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "needs what tests/setup installs: {told}"
    );
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(seen["answer"].as_str().unwrap().contains("200"), "{seen}");
    assert_eq!(
        seen["elsewhere"].as_array().unwrap().len(),
        0,
        "nothing is loaded from elsewhere: {seen}"
    );
    assert_eq!(seen["errors"].as_array().unwrap().len(), 0, "{seen}");

    let api: Value = reqwest::get(format!("{}/openapi.json", daemon.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let operations: usize = api["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    assert_eq!(seen["count"], operations);
    let found = reqwest::get(format!("{}/services/page-1", daemon.url))
        .await
        .unwrap();
    assert_eq!(found.status(), 200, "what the page sent has happened");
}
