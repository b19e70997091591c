//! Versions, protocols, and certificates that are replaced under load.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::site::{Connection, PATIENCE, Site, address, ask};
use crate::daemon::{Daemon, musterd};

/// What `openssl s_client` says about a handshake.
fn s_client(site: &Site, daemon: &Daemon, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address(daemon).to_string()])
        .args([
            "-CAfile",
            &site.text("root.pem"),
            "-servername",
            "localhost",
        ])
        // Without this level the library refuses old versions itself.
        .args(["-cipher", "DEFAULT@SECLEVEL=0"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs: apt-get install openssl");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn old_versions_are_refused_and_http2_is_offered() {
    let site = Site::new();
    let daemon = site.start("");
    for version in ["-tls1", "-tls1_1"] {
        let refused = s_client(&site, &daemon, &[version]);
        assert!(refused.contains("SSL alert number"), "{refused}");
        assert!(refused.contains("Cipher is (NONE)"), "{refused}");
    }
    let shows = |arguments: &[&str], expected: &str| {
        let text = s_client(&site, &daemon, arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    };
    shows(&["-tls1_2"], "TLSv1.2");
    shows(&["-tls1_3"], "TLSv1.3");
    shows(&["-alpn", "h2,http/1.1"], "ALPN protocol: h2");
    shows(&["-alpn", "http/1.1"], "ALPN protocol: http/1.1");
    drop(daemon);
    let newest = site.start("min_version = '1.3'\n");
    let refused = s_client(&site, &newest, &["-tls1_2"]);
    assert!(refused.contains("alert protocol version"), "{refused}");
    let text = s_client(&site, &newest, &["-tls1_3"]);
    assert!(text.contains("TLSv1.3"), "{text}");
}

#[tokio::test]
async fn a_client_without_tls_is_pointed_to_https() {
    let site = Site::new();
    let daemon = site.start("");
    let mut stream = TcpStream::connect(address(&daemon)).await.unwrap();
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Behind its answer the connection may be reset.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("use https://"), "{answer}");
}

#[tokio::test]
async fn a_second_listener_speaks_tls_beside_the_plain_one() {
    let site = Site::new();
    let daemon = site.start("listen = '127.0.0.1:0'\n");
    let plain = reqwest::get(format!("{}/health", daemon.url)).await;
    assert_eq!(plain.unwrap().status(), 200);
    let line = daemon.logged(|line| line.get("https.address").is_some());
    let encrypted: SocketAddr = line["https.address"].as_str().unwrap().parse().unwrap();
    let client = site.client(None);
    let mut connection = Connection::open(&client, encrypted).await.unwrap();
    let answer = connection.ask(("GET", "/health"), None, &Value::Null).await;
    assert_eq!(answer.unwrap().0, 200);
}

/// Asks again and again until `stop`, on kept connections and on new ones. Any failure ends the test.
async fn load(site: Arc<Site>, to: SocketAddr, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) {
    let client = site.client(None);
    while !stop.load(Ordering::Relaxed) {
        let mut connection = Connection::open(&client, to).await.unwrap();
        for _ in 0..20 {
            let answer = connection
                .ask(("GET", "/services"), None, &Value::Null)
                .await;
            assert_eq!(answer.unwrap().0, 200);
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn serial(connection: &Connection) -> Vec<u8> {
    let (_, tls) = connection.stream.get_ref();
    let der = &tls.peer_certificates().unwrap()[0];
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    parsed.raw_serial().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_and_no_request_fails() {
    let site = Arc::new(Site::new());
    let daemon = site.start("");
    let to = address(&daemon);
    let client = site.client(None);
    let mut first = Connection::open(&client, to).await.unwrap();
    assert_eq!(serial(&first), [1]);
    let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(load(
            Arc::clone(&site),
            to,
            Arc::clone(&stop),
            Arc::clone(&asked),
        ));
    }
    let shown = async |wanted: u64| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let connection = Connection::open(&client, to).await.unwrap();
            if serial(&connection) == [u8::try_from(wanted).unwrap()] {
                return;
            }
            assert!(Instant::now() < deadline, "{wanted} is shown in time");
            sleep(Duration::from_millis(20)).await;
        }
    };
    // By the files' change alone, then by a signal too.
    for serial in 2..8 {
        site.issue_server(serial);
        if serial % 2 == 1 {
            daemon.signal("-HUP");
        }
        shown(serial).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > 100);
    let kept = first.ask(("GET", "/health"), None, &Value::Null).await;
    assert_eq!(
        kept.unwrap().0,
        200,
        "a connection of the start is still open"
    );
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_the_ones_before_stay() {
    let site = Site::new();
    let daemon = site.start("");
    std::fs::write(site.path("server.pem"), "nothing").unwrap();
    daemon.logged(|line| {
        let text = line.to_string();
        text.contains("the files of http.tls stay as they were") && text.contains("server.pem")
    });
    let client = site.client(None);
    let answer = ask(&client, &daemon, ("GET", "/health"), None, &Value::Null).await;
    assert_eq!(answer.unwrap().0, 200);
    daemon.signal("-HUP");
    daemon.logged(|line| {
        line.to_string()
            .contains("not reloaded: http.tls.certificate")
    });

    let config = site.text("musterd.toml");
    let check = |arguments: &[&str]| {
        let all = [&["check-config", "--config", &config][..], arguments].concat();
        let output = musterd(&all).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    };
    let (code, text) = check(&[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("has no certificate in PEM form"), "{text}");
    site.issue_server(9);
    assert_eq!(check(&[]).0, Some(0));
    // Other machines may reach an address whose clients must have certificates.
    let open = ["--set", "http.listen=0.0.0.0:8443"];
    let (code, text) = check(&open);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("reachable from other machines"), "{text}");
    site.configure(&site.client_auth("required"));
    assert_eq!(check(&open), (Some(0), String::new()));
}
