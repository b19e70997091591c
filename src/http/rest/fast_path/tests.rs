use axum::http::Request;
use serde_json::{Value, json};

use super::FastPath;
use crate::http::{
    config::Config,
    testing::{Answered, Api},
};

#[track_caller]
fn check(expected: Option<FastPath>, requests: &[(&str, &str)]) {
    for (method, path) in requests {
        let request = Request::builder().method(*method).uri(*path).body(());
        assert_eq!(FastPath::of(&request.unwrap()), expected, "{method} {path}");
    }
}

#[test]
fn plain_requests_take_the_fast_path_and_others_the_router() {
    let discover = |healthy_only| Some(FastPath::Discover { healthy_only });
    check(
        discover(true),
        &[
            ("GET", "/services/discover/web"),
            ("GET", "/services/discover/web?healthy_only=true"),
            ("GET", "/services/discover/register"),
        ],
    );
    let all = "/services/discover/web?healthy_only=false";
    check(discover(false), &[("GET", all)]);
    check(
        Some(FastPath::Heartbeat),
        &[
            ("POST", "/services/web-1/heartbeat"),
            ("POST", "/services/web-1/heartbeat?incarnation=7"),
            ("POST", "/services/register/heartbeat"),
        ],
    );
    check(
        Some(FastPath::Register),
        &[
            ("POST", "/services/register"),
            ("POST", "/services/register?incarnation=7"),
        ],
    );
    check(
        None,
        &[
            ("HEAD", "/services/discover/web"),
            ("POST", "/services/discover/web"),
            ("GET", "/services/discover/"),
            ("GET", "/services/discover/a/b"),
            ("GET", "/services/discover/a%2Fb"),
            ("GET", "/services/discover/web?healthy_only=1"),
            ("GET", "/services/discover/web?index=1-2"),
            ("GET", "/services/register"),
            ("GET", "/services/web-1/heartbeat"),
            ("POST", "/services/heartbeat"),
            ("POST", "/services//heartbeat"),
            ("POST", "/services/healthy/heartbeat"),
            ("POST", "/services/discover/heartbeat"),
            ("POST", "/services/a/b/heartbeat"),
            ("POST", "/services/register/"),
            ("PUT", "/services/register"),
            ("POST", "/heartbeat"),
            ("POST", "/services/register?incarnatoin=7"),
            ("POST", "/services/web-1/heartbeat?incarnation=7&x=1"),
        ],
    );
}

/// The parts that differ between two registries are blanked out.
fn blanked(value: &mut Value) {
    const OF_A_LIFE: [&str; 4] = [
        "timestamp",
        "incarnation",
        "registered_at",
        "last_heartbeat",
    ];
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                if OF_A_LIFE.contains(&key.as_str()) {
                    *value = Value::Null;
                }
                blanked(value);
            }
            if let Some(Value::String(detail)) = fields.get_mut("detail") {
                detail.retain(|c| !c.is_ascii_digit());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(blanked),
        _ => {}
    }
}

fn parts(answered: &Answered) -> (u16, Vec<(String, String)>, Value, bool) {
    let mut json = answered.json.clone();
    blanked(&mut json);
    let of_every_route = |name: &str| {
        !name.starts_with("access-control-") && !matches!(name, "x-request-id" | "content-length")
    };
    let mut headers = Vec::new();
    for (name, value) in &answered.headers {
        let value = value.to_str().unwrap();
        // Behind the dash is a revision, which is the same in both registries.
        let value = match name.as_str() {
            "x-muster-index" => value.split_once('-').unwrap().1,
            "vary" if value != "accept-encoding" => continue,
            _ => value,
        };
        if of_every_route(name.as_str()) {
            headers.push((name.to_string(), value.to_owned()));
        }
    }
    headers.sort();
    let compressed = answered.bytes.starts_with(&[0x1f, 0x8b]);
    (answered.status.as_u16(), headers, json, compressed)
}

/// Right ones, wrong ones, and the same again.
fn requests() -> Vec<(&'static str, &'static str, String)> {
    let instance = |id: &str, port: u32| {
        let metadata = "x".repeat(1500);
        json!({"service_id": id, "service_name": "web", "host": "h", "port": port, "odd": 1, "metadata": {"k": metadata}})
            .to_string()
    };
    vec![
        ("GET", "/services/discover/web", String::new()),
        ("POST", "/services/web-1/heartbeat", String::new()),
        ("POST", "/services/register", instance("web-1", 80)),
        ("POST", "/services/register", instance("web-1", 80)),
        (
            "POST",
            "/services/register?incarnation=1",
            instance("web-1", 80),
        ),
        (
            "POST",
            "/services/register?incarnation=x",
            instance("web-1", 0),
        ),
        ("POST", "/services/register", instance("register", 70_000)),
        ("POST", "/services/register", instance("web-2", 81)),
        ("POST", "/services/register", instance("web-3", 82)),
        ("POST", "/services/register", String::new()),
        ("POST", "/services/register", "{".to_owned()),
        ("POST", "/services/register", "x".repeat(5000)),
        ("POST", "/services/web-1/heartbeat", "ignored".to_owned()),
        (
            "POST",
            "/services/web-1/heartbeat?incarnation=1",
            String::new(),
        ),
        (
            "POST",
            "/services/web-1/heartbeat?incarnation=x",
            String::new(),
        ),
        ("POST", "/services/register/heartbeat", String::new()),
        ("GET", "/services/discover/web", String::new()),
        (
            "GET",
            "/services/discover/web?healthy_only=true",
            String::new(),
        ),
        (
            "GET",
            "/services/discover/web?healthy_only=false",
            String::new(),
        ),
        ("GET", "/services/discover/unknown", String::new()),
    ]
}

/// The same requests in the same order, to a door that answers quickly and, as if they came from a
/// page, to one that asks its router.
#[tokio::test(start_paused = true)]
async fn the_fast_path_and_the_router_give_equal_answers() {
    let config = || Config {
        body_max: bytesize::ByteSize::kib(2).into(),
        ..Config::default()
    };
    let (quick, routed) = (Api::with(config()), Api::with(config()));
    for (method, path, body) in requests() {
        for encoding in ["identity", "gzip"] {
            let encoding = ("accept-encoding", encoding);
            let page = ("origin", "http://localhost:3000");
            let json = ("content-type", "application/json");
            let one = quick.ask(method, path, &[encoding], body.clone()).await;
            let two = routed
                .ask(method, path, &[encoding, page, json], body.clone())
                .await;
            assert_eq!(parts(&one), parts(&two), "{method} {path} {body:.40}");
            assert_eq!(one.header("x-request-id").len(), 16);
        }
    }
    let counted = |api: &Api| -> Vec<String> {
        let text = api.shared.metrics.render();
        let lines = text.lines();
        let counters = lines.filter(|line| {
            line.starts_with("musterd_http_requests_total") || line.contains("_seconds_count")
        });
        counters.map(str::to_owned).collect()
    };
    let counters = counted(&quick);
    assert!(counters.len() >= 8, "{counters:?}");
    assert_eq!(counters, counted(&routed), "both ways count the same");
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_does_not_come_ends_in_time() {
    let api = Api::new();
    let endless = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let body = axum::body::Body::from_stream(endless);
    let answered = api.expect(503, "POST", "/services/register", body).await;
    let detail = answered.json["detail"].as_str().unwrap();
    assert!(detail.contains("http.request_timeout"), "{detail}");
}
