//! What RFC 9110 and 9112 demand of a server, on a real connection.

use std::time::Duration;

use musterd::http::Config;

use super::server::Server;

/// The answer to a request after which this side says no more, and the connection's end.
async fn answer(server: &Server, request: &str) -> String {
    let mut raw = server.connect().await;
    raw.write(request).await;
    raw.rest().await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_request_has_one_valid_host_and_one_length() {
    let config = Config {
        // Whatever does not close the connection is closed by this.
        keep_alive: Duration::from_millis(200).into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    let body = "\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for (start, headers, code) in [
        ("GET /health HTTP/1.1", "host: localhost\r\n\r\n", 200),
        ("GET /health HTTP/1.1", "\r\n", 400),
        ("GET /health HTTP/1.1", "host: a\r\nhost: a\r\n\r\n", 400),
        ("GET /health HTTP/1.1", "host: local host\r\n\r\n", 400),
        ("GET /health HTTP/1.1", "host: a b/c@d\r\n\r\n", 400),
        ("GET /health HTTP/1.1", "host: [::1]:80\r\n\r\n", 200),
        ("GET /health HTTP/1.1", "host: evil.example\r\n\r\n", 421),
        ("GET /health HTTP/1.0", "\r\n", 200),
        ("GET /health HTTP/1.0", "host: a\r\nhost: a\r\n\r\n", 400),
        (
            "GET http://127.0.0.1/health HTTP/1.1",
            "host: localhost\r\n\r\n",
            200,
        ),
        (
            "GET http://evil.example/health HTTP/1.1",
            "host: localhost\r\n\r\n",
            421,
        ),
        ("OPTIONS * HTTP/1.1", "host: localhost\r\n\r\n", 204),
        // White space that a proxy may read otherwise.
        ("GET /health HTTP/1.1", "host : localhost\r\n\r\n", 400),
        ("GET /health HTTP/1.1", " host: localhost\r\n\r\n", 400),
        (
            "GET /health HTTP/1.1",
            "host: localhost\r\n x: y\r\n\r\n",
            400,
        ),
        // Lengths that a proxy may read otherwise.
        (
            "POST /services/register HTTP/1.1",
            "host: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
            400,
        ),
        (
            "POST /services/register HTTP/1.1",
            "host: localhost\r\ncontent-length: +2\r\n\r\n{}",
            400,
        ),
        (
            "POST /services/register HTTP/1.1",
            "host: localhost\r\ncontent-length: 2, 2\r\n\r\n{}",
            400,
        ),
        (
            "POST /services/register HTTP/1.1",
            "host: localhost\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
            422,
        ),
        (
            "POST /services/register HTTP/1.1",
            &format!("host: localhost\r\ntransfer-encoding: gzip{body}"),
            400,
        ),
        (
            "POST /services/register HTTP/1.1",
            &format!("host: localhost\r\ntransfer-encoding: chunked, gzip{body}"),
            400,
        ),
        (
            "POST /services/register HTTP/1.0",
            &format!("host: localhost\r\ntransfer-encoding: chunked{body}"),
            400,
        ),
        (
            "POST /services/register HTTP/1.1",
            &format!("host: localhost\r\ntransfer-encoding: chunked{body}"),
            422,
        ),
    ] {
        let answered = answer(&server, &format!("{start}\r\n{headers}")).await;
        let line = format!("HTTP/1.1 {code} ");
        // Versions may differ, codes not.
        let found = answered.get(9..12).unwrap_or_default();
        assert_eq!(
            found,
            code.to_string(),
            "{start} {headers:?}: {line} {answered}"
        );
    }
    server.stopped().await;
}

/// Both lengths at once: the chunks count, and nothing is read behind them (RFC 9112, section 6.1).
#[tokio::test]
async fn nothing_is_smuggled_behind_a_chunked_body() {
    let server = Server::start(Config::default()).await;
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
    ] {
        let request = format!(
            "POST /services/register HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n2\r\n{{}}\r\n0\r\n\r\n\
             DELETE /services/a HTTP/1.1\r\nhost: localhost\r\n\r\n"
        );
        let answered = answer(&server, &request).await;
        assert!(answered.starts_with("HTTP/1.1 422 "), "{answered}");
        assert_eq!(answered.matches("HTTP/1.1 ").count(), 1, "{answered}");
    }
    server.stopped().await;
}

/// The head of a stream's answer is all there is of it, so that the connection is idle afterwards.
#[tokio::test]
async fn head_of_a_stream_leaves_an_idle_connection() {
    let config = Config {
        keep_alive: Duration::from_millis(100).into(),
        ..Config::default()
    };
    let server = Server::start(config).await;
    for method in ["HEAD", "OPTIONS", "DELETE"] {
        for path in [
            "/watch",
            "/gateway/watch",
            "/watch/ws",
            "/events",
            "/health",
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            let answered = answer(&server, &request).await;
            let (head, body) = answered.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 "), "{method} {path}: {head}");
            if method == "HEAD" {
                assert_eq!(body, "", "{path}");
            }
        }
    }
    server.stopped().await;
}
