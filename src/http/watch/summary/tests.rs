use serde_json::{Value, json};

use crate::{
    api::ServiceSummary,
    http::testing::{
        fixture::{register, registration, route},
        live::{Live, LiveClient},
    },
    model::Revision,
    registry::{Config, Registry},
};

async fn begun(live: &Live, path: &str) -> (LiveClient, Value) {
    let mut client = live.get(path).await;
    let snapshot = client.next().await.unwrap();
    assert_eq!(snapshot.event, "snapshot");
    (client, snapshot.data)
}

/// The next message about services, and the events before it.
async fn summaries(client: &mut LiveClient) -> (Value, usize) {
    let mut events = 0;
    loop {
        let message = client.next().await.unwrap();
        match message.event.as_str() {
            "event" => events += 1,
            "summaries" => {
                assert_eq!(message.id, None, "it moves no cursor");
                return (message.data, events);
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_short_view_has_counts_and_follows_changes() {
    let live = Live::start().await;
    for (id, service) in [("a-1", "a"), ("a-2", "a"), ("b \"1\"", "b \"quoted\"")] {
        register(live.registry(), id, service, 80);
    }
    live.registry().set_route(route("r", "/a", "a")).unwrap();
    let (mut client, snapshot) = begun(&live, "/watch?view=summary&since=0-0").await;
    let of_a = &snapshot["services"]["a"];
    assert_eq!(of_a["counts"]["healthy"], 2, "{snapshot}");
    assert_eq!(of_a["versions"], json!({"1.0.0": 2}));
    assert_eq!(of_a["event"], "registered");
    assert_eq!(of_a["service_id"], "a-2");
    assert_eq!(of_a["guarded"], false);
    assert_eq!(snapshot["services"]["b \"quoted\""]["counts"]["healthy"], 1);
    assert_eq!(snapshot["routes"][0]["route_id"], "r");
    assert_eq!(snapshot["revision"], 4);

    for port in 0..50 {
        register(live.registry(), "a-3", "a", 100 + port);
    }
    let (mut data, mut events) = summaries(&mut client).await;
    let mut messages = 1;
    while events < 50 {
        let (next, more) = summaries(&mut client).await;
        (data, events, messages) = (next, events + more, messages + 1);
    }
    assert_eq!(data["services"]["a"]["counts"]["healthy"], 3);
    assert_eq!(data["services"].as_object().unwrap().len(), 1);
    assert!(messages < 50, "changes close together are summed up once");

    live.registry().deregister("b \"1\"", None).unwrap();
    let (data, _) = summaries(&mut client).await;
    assert_eq!(data["services"]["b \"quoted\""], Value::Null, "{data}");
    live.stop().await;
}

#[tokio::test]
async fn a_short_view_of_some_services_has_no_others_and_no_routes() {
    let live = Live::start().await;
    register(live.registry(), "a-1", "a", 80);
    register(live.registry(), "b-1", "b", 80);
    let (mut client, snapshot) = begun(&live, "/watch?view=summary&service=a").await;
    assert_eq!(snapshot["services"].as_object().unwrap().len(), 1);
    assert_eq!(snapshot["routes"], Value::Null);
    register(live.registry(), "b-2", "b", 80);
    register(live.registry(), "a-2", "a", 80);
    let (data, events) = summaries(&mut client).await;
    assert_eq!(
        (data["services"].as_object().unwrap().len(), events),
        (1, 1)
    );
    live.stop().await;
}

#[tokio::test]
async fn an_open_watcher_is_listed_with_its_lag() {
    let live = Live::start().await;
    register(live.registry(), "a-1", "a", 80);
    let (client, _) = begun(&live, "/watch?service=b&service=c").await;
    register(live.registry(), "a-2", "a", 80);
    let list: Value = {
        let url = format!("http://{}/watchers/streams", live.address);
        serde_json::from_slice(&reqwest::get(url).await.unwrap().bytes().await.unwrap()).unwrap()
    };
    let one = &list["streams"][0];
    assert_eq!(
        (list["total_count"].as_u64(), &one["kind"]),
        (Some(1), &json!("sse"))
    );
    assert_eq!(one["scope"], "b, c");
    assert!(
        one["address"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{one}"
    );
    assert_eq!(one["identity"], Value::Null);
    // The stream follows none of these changes, so it is only as far as its snapshot.
    assert_eq!(one["lag"], 1, "{one}");
    drop(client);
    live.until_watchers("sse", "0").await;
    live.stop().await;
}

#[test]
fn a_summary_names_a_bounded_number_of_tags() {
    let registry = Registry::new(Config::default());
    let mut one = registration("a-1", "a", 80);
    one.tags = (0..100).map(|n| format!("tag-{n:03}").into()).collect();
    registry.register(one, None).unwrap();
    let instance = registry.instance("a-1").unwrap();
    let summary = ServiceSummary::of([&*instance].into_iter(), Revision(1));
    assert_eq!(summary.tags.len(), 32);
}
