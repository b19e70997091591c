//! HTTP/2: with a client that uses it as it should, and with frames written by hand.

use std::{process::Command, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::site::{PATIENCE, Site, address};
use crate::daemon::Daemon;

/// curl with HTTP/2, on a path of the daemon.
fn curl(site: &Site, daemon: &Daemon, path: &str) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--http2", "--max-time", "30"])
        .args(["--cacert", &site.text("root.pem")])
        .arg(format!("https://{}{path}", address(daemon)));
    command
}

#[tokio::test]
async fn requests_are_answered_over_http2_and_a_stop_drains_it() {
    let site = Site::new();
    let daemon = site.start("");
    let body = r#"{"service_id":"a","service_name":"web","host":"127.0.0.1","port":80}"#;
    let mut command = curl(&site, &daemon, "/services/register");
    let format = [
        "--write-out",
        "%{http_version} %{http_code}",
        "-o",
        "/dev/null",
    ];
    command.args(["--json", body]).args(format);
    let output = command.output().expect("curl runs: apt-get install curl");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 200");
    // The fast path, the router, an error, and an answer that is compressed.
    for (path, expected) in [
        ("/services/discover/web", "2 200"),
        ("/services/discover/web?tag=x", "2 200"),
        ("/services/nobody", "2 404"),
        ("/openapi.json", "2 200"),
    ] {
        let mut command = curl(&site, &daemon, path);
        let output = command.arg("--compressed").args(format).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{path}");
    }
    // A name that is not the daemon's is refused here too.
    let mut command = curl(&site, &daemon, "/services");
    command.args(["-H", "host: evil.example"]).args(format);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 421");

    let file = site.path("events");
    let mut watch = curl(&site, &daemon, "/watch");
    watch.arg("--no-buffer").arg("-o").arg(&file);
    let mut watch = watch.spawn().unwrap();
    let begun = async {
        while std::fs::read_to_string(&file).is_ok_and(|text| !text.contains("snapshot"))
            || !file.exists()
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    daemon.signal("-TERM");
    let ended = tokio::task::spawn_blocking(move || watch.wait().unwrap());
    let ended = timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert!(ended.success(), "the stream ends in good order: {ended}");
    assert_eq!(daemon.exit_code(), 0);
}

/// Types of frames (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// GET / of localhost, in HPACK without a dynamic table.
fn get() -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x84, 0x41, 9];
    block.extend(b"localhost");
    block
}

async fn open(site: &Site, daemon: &Daemon) -> TlsStream<TcpStream> {
    let files = musterd::tls::ClientFiles {
        roots: ("ca".to_owned(), site.path("root.pem")),
        ..musterd::tls::ClientFiles::default()
    };
    let mut config = files.read().unwrap().verifying().unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address(daemon)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stream.write_all(begin).await.unwrap();
    let settings = frame(SETTINGS, 0, 0, &[]);
    stream.write_all(&settings).await.unwrap();
    stream
}

/// The next frame: its type, its stream and its payload; none at the end.
async fn next(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    let read = timeout(PATIENCE, stream.read_exact(&mut head)).await;
    read.unwrap().ok()?;
    let [a, b, c, kind, _, id @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
    let mut payload = vec![0; length];
    let read = timeout(PATIENCE, stream.read_exact(&mut payload)).await;
    read.unwrap().ok()?;
    Some((kind, u32::from_be_bytes(id), payload))
}

/// The code of the GOAWAY that ends the connection.
async fn goaway(stream: &mut TlsStream<TcpStream>) -> Option<u32> {
    while let Some((kind, _, payload)) = next(stream).await {
        if kind == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    None
}

#[tokio::test]
async fn floods_end_their_connection_and_no_other() {
    /// RFC 9113, section 7.
    const ENHANCE_YOUR_CALM: u32 = 11;
    let site = Site::new();
    let daemon = site.start("");
    let mut good = open(&site, &daemon).await;

    // Requests that are reset at once (CVE-2023-44487).
    let mut resetting = open(&site, &daemon).await;
    let mut flood = Vec::new();
    for n in 0..2000 {
        let id = 2 * n + 1;
        flood.extend(frame(HEADERS, 5, id, &get()));
        flood.extend(frame(RST_STREAM, 0, id, &[0, 0, 0, 8]));
    }
    // The server may hang up before everything is written.
    let _ = resetting.write_all(&flood).await;
    let code = goaway(&mut resetting).await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");

    // A header block without an end (CVE-2024-27316).
    let mut endless = open(&site, &daemon).await;
    let field = |n: u32| {
        let mut field = vec![0x00, 6];
        field.extend(format!("x-{n:04}").as_bytes());
        field.push(100);
        field.extend([b'v'; 100]);
        field
    };
    let mut flood = frame(HEADERS, 1, 1, &get());
    for n in 0..20_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field(n % 10_000)));
    }
    let _ = endless.write_all(&flood).await;
    endless_end(&mut endless).await;

    let ping = frame(PING, 0, 0, b"are you?");
    good.write_all(&ping).await.unwrap();
    let answered = async {
        loop {
            let (kind, _, payload) = next(&mut good).await.expect("it is still open");
            if kind == PING && payload == b"are you?" {
                return;
            }
        }
    };
    timeout(PATIENCE, answered).await.unwrap();
}

/// The connection is closed, with or without a word.
async fn endless_end(stream: &mut TlsStream<TcpStream>) {
    while next(stream).await.is_some() {}
}

#[tokio::test]
async fn requests_of_a_connection_and_headers_of_a_request_are_limited() {
    let site = Site::new();
    let daemon = site.start("[http]\nhttp2_streams_max = 4\nhead_max = '8KiB'\n");
    let mut stream = open(&site, &daemon).await;
    let mut settings = None;
    while settings.is_none() {
        let (kind, _, payload) = next(&mut stream).await.unwrap();
        settings = (kind == SETTINGS && !payload.is_empty()).then_some(payload);
    }
    let settings = settings.unwrap();
    let value = |wanted: u16| {
        let found = settings
            .chunks(6)
            .find(|one| one[..2] == wanted.to_be_bytes());
        found.map(|one| u32::from_be_bytes(one[2..].try_into().unwrap()))
    };
    // MAX_CONCURRENT_STREAMS and MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2).
    assert_eq!((value(3), value(6)), (Some(4), Some(8192)));
    // A long poll each: the fifth one is one too many.
    let mut poll = vec![0x82, 0x87, 0x41, 9];
    poll.extend(b"localhost");
    let path = b"/watch";
    poll.extend([0x04, u8::try_from(path.len()).unwrap()]);
    poll.extend(path);
    for id in [1, 3, 5, 7, 9] {
        let request = frame(HEADERS, 5, id, &poll);
        stream.write_all(&request).await.unwrap();
    }
    let refused = async {
        loop {
            let (kind, id, payload) = next(&mut stream).await.expect("it stays open");
            if kind == RST_STREAM {
                return (id, payload);
            }
        }
    };
    // REFUSED_STREAM
    let refused = timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(refused, (9, vec![0, 0, 0, 7]));
}
