//! Pages in a real browser: the one to try the API, and those of other origins.

use std::process::Command;

use serde_json::Value;

use crate::daemon::Daemon;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script that drives a browser, and reads what it prints.
fn run(script: &str, url: &str) -> Value {
    let output = Command::new("node")
        .arg(format!("{ROOT}/tests/it/page/{script}"))
        .arg(url)
        .env("NODE_PATH", format!("{ROOT}/tests/.local/node_modules"))
        .output()
        .expect("node is there: run tests/setup");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "needs what tests/setup installs: {errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_page_lists_every_operation_and_sends_a_request() {
    let daemon = Daemon::start(&[]);
    let seen = run("docs.cjs", &daemon.url);
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

/// What pages of other origins can do without asking, in a real browser: nothing.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one journey, step by step")]
async fn pages_of_other_origins_change_nothing() {
    let daemon = Daemon::start(&[]);
    let client = reqwest::Client::new();
    let victim = r#"{"service_id":"victim","service_name":"page","host":"127.0.0.1","port":80}"#;
    let registered = client
        .post(format!("{}/services/register", daemon.url))
        .body(victim)
        .send()
        .await
        .unwrap();
    assert_eq!(registered.status(), 200);
    let seen = run("origins.cjs", &daemon.url);

    for (page, read, simple, json, remove, socket) in [
        (
            "foreign",
            "TypeError",
            "opaque",
            "TypeError",
            "TypeError",
            "error",
        ),
        (
            "sandboxed",
            "TypeError",
            "opaque",
            "TypeError",
            "TypeError",
            "error",
        ),
    ] {
        let of = &seen[page];
        assert_eq!(of["read"], read, "{page}: {of}");
        assert_eq!(of["simple"], simple, "{page}: {of}");
        assert_eq!(of["json"], json, "{page}: {of}");
        assert_eq!(of["remove"], remove, "{page}: {of}");
        assert_eq!(of["socket"], socket, "{page}: {of}");
    }
    let rebound = &seen["rebound"];
    for way in ["opened", "read", "simple", "json", "remove"] {
        assert_eq!(rebound[way], 421, "{way}: {rebound}");
    }
    assert_eq!(rebound["socket"], "error", "{rebound}");
    for page in ["local", "own"] {
        let of = &seen[page];
        assert_eq!(of["read"], 200, "{page}: {of}");
        assert_eq!(of["json"], 200, "{page}: {of}");
        assert_eq!(of["socket"], "open", "{page}: {of}");
    }
    // What is not JSON is refused for every page: "simple" of a page of ours.
    assert_eq!(seen["own"]["simple"], 415, "{}", seen["own"]);
    // Removed by the page of "local", which is listed; a second time there is nothing to remove.
    assert_eq!(seen["local"]["remove"], 200, "{}", seen["local"]);
    assert_eq!(seen["own"]["remove"], 404, "{}", seen["own"]);

    let services: Value = reqwest::get(format!("{}/services", daemon.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut ids: Vec<_> = services["page"]
        .as_array()
        .unwrap()
        .iter()
        .map(|instance| instance["service_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(
        ids,
        ["local", "own"],
        "only those pages registered something"
    );
    let watchers: Value = reqwest::get(format!("{}/watchers", daemon.url))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        watchers["watchers"].as_array().map(Vec::len),
        Some(0),
        "{watchers}"
    );
}
