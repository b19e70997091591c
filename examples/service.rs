//! Registers an instance, renews it, discovers it, follows its events, deregisters.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

type AnyError = Box<dyn Error>;

struct Daemon {
    client: Client,
    address: String,
    token: Option<String>,
}

impl Daemon {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .client
            .request(method, format!("{}{path}", self.address));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends one request; a refusal is an error with the daemon's words.
    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value, AnyError> {
        let request = self.request(method, path).timeout(Duration::from_secs(10));
        let answer = request.json(&body).send().await?;
        let status = answer.status();
        let value: Value = answer.json().await.unwrap_or_default();
        match status.is_success() {
            true => Ok(value),
            false => Err(format!("{path}: {status} {}", value["detail"]).into()),
        }
    }
}

/// The kind of the first event of this instance.
async fn first_event(mut stream: Response, id: &str) -> Result<String, AnyError> {
    let mut text = String::new();
    while let Some(piece) = stream.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&piece));
        while let Some((line, rest)) = text.split_once('\n') {
            let event = line.strip_prefix("data:").unwrap_or_default();
            let event: Value = serde_json::from_str(event).unwrap_or_default();
            if event["service_id"] == id {
                return Ok(event["event"].as_str().unwrap_or_default().to_owned());
            }
            text = rest.to_owned();
        }
    }
    Err("the stream ended".into())
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let address = std::env::var("MUSTERD_ADDRESS");
    let daemon = Daemon {
        client: Client::new(),
        address: address.unwrap_or_else(|_| "http://127.0.0.1:8000".to_owned()),
        token: std::env::var("MUSTERD_TOKEN").ok(),
    };
    let stream = daemon.request(Method::GET, "/watch?service=example");
    let stream = stream.send().await?.error_for_status()?;

    let instance = json!({
        "service_id": "rust-1", "service_name": "example", "host": "127.0.0.1", "port": 8081, "ttl": "30s",
    });
    daemon
        .ask(Method::POST, "/services/register", instance)
        .await?;
    println!("registered rust-1");
    daemon
        .ask(Method::POST, "/services/rust-1/heartbeat", json!({}))
        .await?;
    println!("renewed");

    let found = daemon
        .request(Method::GET, "/services/discover/example")
        .send()
        .await?;
    let found: Value = found.json().await?;
    let instances = found["services"].as_array().ok_or("no list")?;
    if !instances.iter().any(|one| one["service_id"] == "rust-1") {
        return Err("not found".into());
    }
    println!("discovered rust-1");

    let event = tokio::time::timeout(Duration::from_secs(10), first_event(stream, "rust-1"));
    println!("event {}", event.await??);

    daemon
        .ask(Method::DELETE, "/services/rust-1", json!(null))
        .await?;
    println!("deregistered");
    Ok(())
}
