mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use proptest::prelude::*;
use tokio::{io::AsyncWriteExt, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Client, Request};
use crate::{
    outbound::{
        Config, OutboundError, RequestStep, Response,
        testing::{Target, nobody, request, reset},
    },
    telemetry::Metrics,
};

const BODY_MAX: usize = 1000;

fn client() -> Client {
    Client::new(&Config::default(), &Metrics::default()).expect("a client")
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(100)
}

async fn get(client: &Client, url: &str) -> Result<Response, OutboundError> {
    let request = Request::new(Method::GET, url);
    client.send(&request, in_time(), BODY_MAX).await
}

fn pooled(client: &Client) -> i64 {
    client.inner.pool.size()
}

#[tokio::test]
async fn an_answer_is_received_and_the_connection_is_reused() {
    let target = Target::start(|mut stream, number| async move {
        while let Some(head) = request(&mut stream).await {
            let body = format!("{number} {}", head.lines().next().unwrap_or(""));
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    })
    .await;
    let client = client();
    for path in ["/a?b=c", "/d"] {
        let answer = get(&client, &target.url(path)).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["x-a"], "1");
        assert_eq!(answer.body, format!("1 GET {path} HTTP/1.1"));
        assert!(!answer.truncated);
        assert_eq!(pooled(&client), 1);
    }
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn the_request_is_sent_as_given() {
    let target = Target::start(|mut stream, _| async move {
        let head = request(&mut stream)
            .await
            .expect("a request")
            .to_lowercase();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
            head.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let mut asked = Request::new(Method::POST, &target.url("/hook").replace("//", "//u:p@"));
    asked.add_header("X-One", "1").expect("a header");
    asked.add_header("x-one", "2").expect("a header");
    asked.body = Bytes::from_static(b"four");
    let answer = client()
        .send(&asked, in_time(), BODY_MAX)
        .await
        .expect("an answer");
    let head = String::from_utf8(answer.body.to_vec()).expect("text");
    for line in [
        "post /hook http/1.1\r\n",
        &format!("host: {}\r\n", target.at),
        "x-one: 1\r\nx-one: 2\r\n",
        "content-length: 4\r\n",
        "authorization: basic dtpw\r\n",
        "user-agent: musterd/",
        "accept: */*\r\n",
    ] {
        assert!(head.contains(line), "{line:?} is not in {head:?}");
    }
}

#[test]
fn headers_that_would_break_the_framing_are_refused() {
    let mut asked = Request::new(Method::GET, "http://a/");
    for (name, value) in [
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("a b", "c"),
        ("", "c"),
        ("a", "b\r\nc: d"),
    ] {
        asked.add_header(name, value).expect_err(name);
    }
    assert!(asked.headers.is_empty());
}

#[tokio::test]
async fn a_target_that_never_answers_costs_the_deadline_and_no_more() {
    let target = Target::silent().await;
    let asked = Request::new(Method::GET, &target.url("/"));
    let client = client();
    let error = client
        .send(&asked, soon(), BODY_MAX)
        .await
        .expect_err("silence");
    assert!(
        matches!(error, OutboundError::Deadline(RequestStep::Answer)),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "connected, but no response within the timeout"
    );
    assert_eq!(pooled(&client), 0);
}

#[tokio::test]
async fn a_body_that_trickles_costs_the_deadline_and_no_more() {
    let target = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let asked = Request::new(Method::GET, &target.url("/"));
    let error = client()
        .send(&asked, soon(), BODY_MAX)
        .await
        .expect_err("no end");
    assert!(
        matches!(error, OutboundError::Deadline(RequestStep::Body)),
        "{error}"
    );
}

#[tokio::test]
async fn an_invalid_response_is_an_error() {
    let answers: [&[u8]; 6] = [
        b"\x00\x01\x02\x03 nonsense\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    ];
    let client = client();
    for answer in answers {
        let target = Target::saying(answer).await;
        let error = get(&client, &target.url("/")).await.expect_err("garbage");
        let expected = matches!(error, OutboundError::Garbage(_) | OutboundError::Broken(_));
        assert!(expected, "{error:?} for {}", answer.escape_ascii());
        assert_eq!(pooled(&client), 0);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let client = client();
    let resetting = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        reset(stream);
    })
    .await;
    let closing = Target::saying(b"").await;
    let half_head = Target::saying(b"HTTP/1.1 200 OK\r\ncontent-le").await;
    let half_body = Target::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    for target in [resetting, closing, half_head, half_body] {
        let error = get(&client, &target.url("/")).await.expect_err("broken");
        assert!(matches!(error, OutboundError::Broken(_)), "{error:?}");
        assert_eq!(
            target.connections(),
            1,
            "a fresh connection is not tried again"
        );
        assert_eq!(pooled(&client), 0);
    }
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let endless = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: of the same\r\n").await.is_ok() {}
    })
    .await;
    let one_long = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'a'; 1000]).await.is_ok() {}
    })
    .await;
    let many = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
        let _ = stream.write_all(head.as_bytes()).await;
    })
    .await;
    for target in [endless, one_long, many] {
        let error = get(&client(), &target.url("/"))
            .await
            .expect_err("too much");
        assert!(matches!(error, OutboundError::Garbage(_)), "{error:?}");
    }
}

#[tokio::test]
async fn of_a_huge_body_only_the_beginning_is_read() {
    let target = Target::start(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n")
            .await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let client = client();
    let answer = get(&client, &target.url("/")).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.truncated), (BODY_MAX, true));
    assert_eq!(pooled(&client), 0);
}

#[tokio::test]
async fn redirects_are_answers() {
    let elsewhere = Target::always(200).await;
    let to = elsewhere.url("/");
    let target = Target::start(move |mut stream, _| {
        let to = to.clone();
        async move {
            request(&mut stream).await;
            let answer =
                format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let answer = get(&client(), &target.url("/")).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_replaced() {
    let target = Target::saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let client = client();
    for _ in 0..3 {
        get(&client, &target.url("/")).await.expect("an answer");
    }
    assert_eq!(target.connections(), 3);
}

/// Answers the first request of each connection; resets it at the second, except the second
/// connection's.
async fn resetting_later() -> Target {
    Target::start(|mut stream, number| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        request(&mut stream).await;
        let _ = stream.write_all(answer).await;
        request(&mut stream).await;
        if number == 1 {
            return reset(stream);
        }
        let _ = stream.write_all(answer).await;
    })
    .await
}

#[tokio::test]
async fn a_reset_on_a_pooled_connection_is_tried_again_when_that_is_safe() {
    let target = resetting_later().await;
    let client = client();
    for connections in [1, 2] {
        get(&client, &target.url("/")).await.expect("an answer");
        assert_eq!(target.connections(), connections);
    }
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_twice() {
    let target = resetting_later().await;
    let client = client();
    get(&client, &target.url("/")).await.expect("an answer");
    let asked = Request::new(Method::POST, &target.url("/"));
    let error = client
        .send(&asked, in_time(), BODY_MAX)
        .await
        .expect_err("reset");
    assert!(matches!(error, OutboundError::Broken(_)), "{error:?}");
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn denied_networks_are_never_connected_to() {
    let target = Target::always(200).await;
    let config = Config {
        deny: vec![
            "127.0.0.0/8".parse().expect("net"),
            "::1/128".parse().expect("net"),
        ],
        ..Config::default()
    };
    let client = Client::new(&config, &Metrics::default()).expect("a client");
    let port = target.at.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
    ] {
        let url = format!("http://{host}:{port}/");
        let error = get(&client, &url).await.expect_err(&url);
        assert!(error.is_denied(), "{url}: {error}");
        assert!(error.to_string().contains("outbound.deny lists"), "{error}");
    }
    let error = client
        .connect_tcp("localhost", port, in_time())
        .await
        .expect_err("denied");
    assert!(error.is_denied(), "{error}");
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn metadata_addresses_are_denied_by_default() {
    for url in [
        "http://169.254.169.254/latest",
        "http://[fd00:ec2::254]/",
        "http://0xa9fea9fe/",
    ] {
        let error = get(&client(), url).await.expect_err(url);
        assert!(error.is_denied(), "{url}: {error}");
    }
}

#[tokio::test]
async fn tcp_connections_are_made_or_refused() {
    let target = Target::silent().await;
    let client = client();
    let made = client
        .connect_tcp("127.0.0.1", target.at.port(), in_time())
        .await;
    made.expect("a connection");
    let free = nobody().await;
    let error = client
        .connect_tcp("127.0.0.1", free.port(), in_time())
        .await;
    let error = error.expect_err("nobody listens");
    assert!(
        matches!(error, OutboundError::Connect { at, .. } if at == free),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_emptied_when_the_room_stops() {
    let target = Target::always(200).await;
    let client = client();
    get(&client, &target.url("/")).await.expect("an answer");
    assert_eq!(pooled(&client), 1);
    let stop = CancellationToken::new();
    stop.cancel();
    client.clone().run(stop).await;
    assert_eq!(pooled(&client), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_answer_is_an_answer_or_an_error(
        start in "(HTTP/1\\.[01] [0-9]{3} X\r\n)?",
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut bytes = start.into_bytes();
            bytes.extend(rest);
            let target = Target::start(move |mut stream, _| {
                let bytes = bytes.clone();
                async move {
                    request(&mut stream).await;
                    let _ = stream.write_all(&bytes).await;
                }
            })
            .await;
            let answered = get(&client(), &target.url("/")).await;
            assert!(!answered.is_err_and(|error| error.is_deadline()));
        });
    }
}
