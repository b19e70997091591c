use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::http::testing::{
    fixture::register,
    live::{Live, LiveClient},
};

/// Each way to wait, by the metric's word for it.
const WAITS: [(&str, &str); 6] = [
    ("long_poll", "/services/discover/a?index=1&wait=5m"),
    (
        "long_poll",
        "/services/discover/never%2Fever?index=0&wait=5m",
    ),
    ("long_poll", "/events?since=1&wait=5m"),
    ("long_poll", "/gateway/config?index=0&wait=5m"),
    ("sse", "/watch"),
    ("gateway", "/gateway/watch"),
];
/// A second request, between the head of the first and the blank line.
const MORE: &str = "\r\nGET /health HTTP/1.1\r\nhost: localhost\r\n";

async fn live() -> Live {
    let live = Live::start().await;
    register(live.registry(), "one", "a", 1);
    live
}

#[tokio::test]
async fn a_client_that_disconnects_after_pipelining_frees_its_place() {
    let live = live().await;
    for (kind, path) in WAITS {
        for (headers, later) in [("", ""), (MORE, ""), (MORE, "GET /"), ("", "GET /")] {
            let mut client = LiveClient::send(live.address, path, headers).await;
            live.until_watchers(kind, "1").await;
            client.write(later).await;
            drop(client);
            live.until_watchers(kind, "0").await;
        }
    }
    live.stop().await;
}

#[tokio::test]
async fn a_half_closed_client_is_answered() {
    let live = live().await;
    let mut polling = live.get(WAITS[0].1).await;
    live.until_watchers("long_poll", "1").await;
    polling.says_no_more().await;
    assert_eq!(polling.json().await["total_count"], 1);
    // The same when it says so at once, and when it has asked for two things.
    let mut polling = LiveClient::send(live.address, WAITS[0].1, MORE).await;
    polling.says_no_more().await;
    assert_eq!(polling.json().await["total_count"], 1);

    let mut stream = live.get("/watch").await;
    stream.says_no_more().await;
    stream.expect("snapshot").await;
    assert!(stream.next().await.is_none(), "the stream ends");
    live.until_watchers("sse", "0").await;
    live.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_after_a_waiting_one() {
    let live = live().await;
    let mut client = live.get(WAITS[0].1).await;
    live.until_watchers("long_poll", "1").await;
    let body = format!("{{\"service_ids\":[\"{}\"]}}", "x".repeat(10_000));
    let (first, second) = body.split_at(5000);
    client
        .write(&format!(
            "POST /services/heartbeat HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{first}",
            body.len()
        ))
        .await;
    assert!(client.is_silent().await, "the first request still waits");
    register(live.registry(), "two", "a", 2);
    assert_eq!(client.json().await["total_count"], 2);
    client.write(second).await;
    let mut next = client.next_answer();
    assert_eq!(next.json().await["refused"], 1);
    live.stop().await;
}

#[tokio::test]
async fn a_long_poll_ends_early_for_a_client_that_sends_too_much() {
    let live = live().await;
    let mut client = live.get(WAITS[0].1).await;
    live.until_watchers("long_poll", "1").await;
    client
        .write("GET /health HTTP/1.1\r\nhost: localhost\r\n")
        .await;
    client
        .write(&format!("x: {}\r\n\r\n", "x".repeat(20_000)))
        .await;
    let answered = timeout(Duration::from_secs(10), client.json()).await;
    assert_eq!(answered.unwrap()["total_count"], 1);
    // And the next one waits again.
    let mut next = client.next_answer();
    assert_eq!(next.json().await["status"], json!("healthy"));
    let (mut next, path) = (next.next_answer(), WAITS[0].1);
    next.write(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .await;
    live.until_watchers("long_poll", "1").await;
    assert!(next.is_silent().await);
    live.stop().await;
}
