use std::{io::Read, net::SocketAddr, process::Stdio, time::Duration};

use bytesize::ByteSize;
use musterd::http::Config;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::server::{PATIENCE, Server};

/// Short, as the clock of sockets can't be paused.
const SHORT: Duration = Duration::from_millis(200);

async fn is_served(server: &Server) {
    let began = Instant::now();
    let answer = reqwest::get(server.url("/health")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_body_of_two_megabytes_is_read_away_so_that_the_answer_arrives() {
    let server = Server::start(Config::default()).await;
    let client = reqwest::Client::new();
    let post = client.post(server.url("/services/register"));
    let refused = post.body(vec![b' '; 2_000_000]).send().await.unwrap();
    assert_eq!(refused.status(), 413);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );

    // The same in chunks, whose sum nobody has announced.
    let mut raw = server.connect().await;
    raw.write(
        "POST /services/register HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    for _ in 0..31 {
        raw.write(&chunk).await;
    }
    raw.write("0\r\n\r\n").await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(body.contains("http.body_max"), "{body}");
    is_served(&server).await;
    server.stopped().await;
}

#[tokio::test]
async fn an_endless_body_is_given_up() {
    let config = Config {
        body_max: ByteSize::kib(4).into(),
        body_drain_max: ByteSize::kib(64).into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut raw = server.connect().await;
    raw.write(
        "POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n",
    )
    .await;
    let piece = vec![b' '; 65_536];
    let began = Instant::now();
    while raw.0.write_all(&piece).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "still read after {PATIENCE:?}");
    }
    is_served(&server).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_disconnected() {
    let config = Config {
        header_timeout: SHORT.into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut raw = server.connect().await;
    let began = Instant::now();
    raw.write("GET /health HTTP/1.1\r\nx: ").await;
    while raw.0.write_all(b"x").await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "still listened to");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= SHORT);
    is_served(&server).await;
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_disconnected() {
    let config = Config {
        header_timeout: SHORT.into(),
        keep_alive: SHORT.into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut silent = server.connect().await;
    let mut used = server.connect().await;
    used.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    used.answer().await;
    assert_eq!(silent.rest().await, "", "nothing came");
    assert_eq!(used.rest().await, "", "idle for too long");
    server.stopped().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let config = Config {
        request_timeout: SHORT.into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut raw = server.connect().await;
    raw.write(
        "POST /services/register HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
    )
    .await;
    let (head, body) = raw.answer().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains("http.request_timeout"), "{body}");
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let config = Config {
        write_timeout: SHORT.into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    server.fill("a", 1000, 10_000);
    let mut raw = server.connect().await;
    let asked = "GET /services HTTP/1.1\r\nhost: localhost\r\n\r\n";
    raw.write(asked.repeat(4)).await;
    // More than every buffer on the way holds; the writing ends when the server has hung up.
    let began = Instant::now();
    while raw.0.write_all(b"\r\n").await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "still waited for");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    is_served(&server).await;
    server.stopped().await;
}

/// Each refused client gets the reason in the same form, from each part of the server, and is then
/// disconnected.
#[track_caller]
fn is_problem(answer: &str, code: u16) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {code} ")),
        "{answer:?}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    assert!(head.contains("connection: close"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], code);
}

#[tokio::test]
async fn a_too_long_path_gets_414() {
    let config = Config {
        head_max: ByteSize::kib(256).into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut raw = server.connect().await;
    let path = "x".repeat(66_000);
    raw.write(format!(
        "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET /{path} HTTP/1.1\r\n\r\n"
    ))
    .await;
    raw.answer().await;
    is_problem(&raw.rest().await, 414);
    server.stopped().await;
}

#[tokio::test]
async fn a_half_closed_client_is_still_answered() {
    let server = Server::start(Config::default()).await;
    server.fill("a", 1, 1);
    for (asked, expected) in [
        ("GET /health", "healthy"),
        ("GET /services/a-0", "a-0"),
        // This one takes a while.
        ("POST /services/a-0/check", "checks"),
    ] {
        let mut raw = server.connect().await;
        raw.write(format!("{asked} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
        raw.0.shutdown().await.unwrap();
        let answer = raw.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{asked}: {answer:?}");
        assert!(answer.contains(expected), "{asked}: {answer}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn invalid_bytes_are_refused_and_affect_no_other_client() {
    let server = Server::start(Config::default()).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..],
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
    ] {
        let mut raw = server.connect().await;
        raw.write(garbage).await;
        raw.0.shutdown().await.unwrap();
        is_problem(&raw.rest().await, 400);
    }
    let mut raw = server.connect().await;
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    raw.write(&head).await;
    raw.0.shutdown().await.unwrap();
    is_problem(&raw.rest().await, 431);
    is_served(&server).await;
    server.stopped().await;
}

#[tokio::test]
async fn there_is_a_limit_to_headers() {
    for (headers_max, codes) in [(100, [200, 431, 431]), (300, [200, 200, 431])] {
        let config = Config {
            headers_max: headers_max.into(),
            ..Config::default()
        };
        let server = Server::start(config).await;
        for (count, code) in [100, 300, 301].into_iter().zip(codes) {
            let mut raw = server.connect().await;
            let lines = "x: y\r\n".repeat(count - 1);
            raw.write(&format!(
                "GET /health HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n"
            ))
            .await;
            let (head, _) = raw.answer().await;
            let line = format!("HTTP/1.1 {code} ");
            assert!(head.starts_with(&line), "{headers_max} {count}: {head}");
        }
        server.stopped().await;
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_refused() {
    let config = Config {
        connections_max: 2.into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut raw = server.connect().await;
        raw.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await;
        raw.answer().await;
        kept.push(raw);
    }
    let mut refused = server.connect().await;
    let answer = refused.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("http.connections_max"), "{answer}");
    drop(kept);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut raw = server.connect().await;
        // It may be refused while the end of the others is not yet noticed.
        let _ = raw
            .0
            .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await;
        if raw.rest().await.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "there is room again, and nobody gets it"
        );
    }
    server.stopped().await;
}

/// In kilobytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

const HALF_OPEN: usize = 10_000;
const HOLDER: &str = "MUSTERD_TEST_HOLDS_CONNECTIONS_TO";

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_open_connections_are_cheap() {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let needed = HALF_OPEN as u64 + 100;
    assert!(files > needed, "allow more open files: ulimit -n {needed}");
    let server = Server::start(Config::default()).await;
    is_served(&server).await;
    let before = resident();
    // The other ends are in a second process, so that neither has too many files.
    let mut holder = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("http::abuse::holds_connections_for_another_test")
        .env(HOLDER, server.address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut output = BufReader::new(holder.stdout.take().unwrap()).lines();
    while let Some(line) = timeout(PATIENCE, output.next_line())
        .await
        .unwrap()
        .unwrap()
    {
        if line.contains("all open") {
            break;
        }
    }
    is_served(&server).await;
    let each = resident().saturating_sub(before) * 1024 / HALF_OPEN as u64;
    assert!(
        each < 6 * 1024,
        "{each} bytes for each of {HALF_OPEN} connections"
    );
    drop(holder.stdin.take());
    assert!(holder.wait().await.unwrap().success());
    server.stopped().await;
}

#[tokio::test]
#[ignore = "is started by the test above, in a separate process"]
async fn holds_connections_for_another_test() {
    let address: SocketAddr = std::env::var(HOLDER).unwrap().parse().unwrap();
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut connecting = JoinSet::new();
    for _ in 0..50 {
        connecting.spawn(async move {
            let mut open = Vec::new();
            for _ in 0..HALF_OPEN / 50 {
                open.push(TcpStream::connect(address).await.unwrap());
            }
            open
        });
    }
    let open: Vec<_> = connecting.join_all().await.into_iter().flatten().collect();
    assert_eq!(open.len(), HALF_OPEN);
    println!("all open");
    // Until the other side has seen enough.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
