//! Client certificates: who is let in, as whom, and when that ends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::site::{Connection, Site, Wanted, address, ask};
use crate::daemon::Daemon;

/// Streams end within a second; the machine may be busy.
const SOON: Duration = Duration::from_secs(10);
const DEPLOY: &str = "spiffe://example.org/web/deploy";

fn issue(site: &Site) {
    let plain = |common_name, serial| Wanted {
        common_name,
        serial,
        ..Wanted::default()
    };
    site.issue("reader", &plain("reader", 10));
    site.issue("gone", &plain("reader", 11));
    site.issue("unknown", &plain("unknown", 12));
    let deploy = Wanted {
        uri: Some(DEPLOY),
        ..plain("deploy", 13)
    };
    site.issue("deploy", &deploy);
    let expired = Wanted {
        is_expired: true,
        ..plain("reader", 14)
    };
    site.issue("expired", &expired);
}

async fn get(site: &Site, daemon: &Daemon, certificate: Option<&str>, path: &str) -> Option<u16> {
    let client = site.client(certificate);
    let answer = ask(&client, daemon, ("GET", path), None, &Value::Null).await;
    answer.ok().map(|(code, _)| code)
}

/// A stream of events that has begun.
async fn watch(site: &Site, daemon: &Daemon, certificate: &str) -> Connection {
    let client = site.client(Some(certificate));
    let mut stream = Connection::open(&client, address(daemon)).await.unwrap();
    let sent = stream.send(("GET", "/watch"), None, &Value::Null).await;
    sent.unwrap();
    stream.until("event: snapshot").await.unwrap();
    stream
}

#[tokio::test]
async fn without_a_valid_certificate_nobody_gets_in_where_one_is_required() {
    let site = Site::new();
    issue(&site);
    let stranger = Site::new();
    stranger.issue("reader", &Wanted::default());
    site.revoke(&[11]);
    let auth = format!(
        "{}client_crl = '{}'\n",
        site.client_auth("required"),
        site.text("revoked.pem")
    );
    let daemon = site.start(&auth);
    assert_eq!(
        get(&site, &daemon, Some("reader"), "/services").await,
        Some(200)
    );
    for refused in [None, Some("gone"), Some("expired")] {
        assert_eq!(
            get(&site, &daemon, refused, "/services").await,
            None,
            "{refused:?}"
        );
    }
    let copy = |file: &str| {
        let to = site.path(&format!("strange.{file}"));
        std::fs::copy(stranger.path(&format!("reader.{file}")), to).unwrap();
    };
    copy("pem");
    copy("key");
    assert_eq!(
        get(&site, &daemon, Some("strange"), "/services").await,
        None
    );

    // Revoked while it watches: its stream ends, and that of another client does not.
    let mut kept = watch(&site, &daemon, "unknown").await;
    let mut ended = watch(&site, &daemon, "reader").await;
    site.revoke(&[10, 11]);
    timeout(SOON, ended.ended()).await.unwrap();
    assert_eq!(get(&site, &daemon, Some("reader"), "/services").await, None);
    let body = json!({"service_id": "a", "service_name": "web", "host": "127.0.0.1", "port": 80});
    let client = site.client(Some("unknown"));
    let answer = ask(
        &client,
        &daemon,
        ("POST", "/services/register"),
        None,
        &body,
    )
    .await;
    assert_eq!(answer.unwrap().0, 200);
    timeout(SOON, kept.until("\"web\"")).await.unwrap().unwrap();
}

const IDENTITIES: &str = "[security]\nauth = 'on'\nadmin_token_file = ''\n\
    [security.tokens.ci]\nsha256 = 'SHA'\npolicies = ['web']\n\
    [security.policies]\nweb = [{ resource = 'service', pattern = 'web-*', access = 'write' }]\n";

fn identities(certificates: &str) -> String {
    use std::fmt::Write;
    let digest = <sha2::Sha256 as sha2::Digest>::digest(b"the-secret-of-ci-0123456789");
    let digest = digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    format!("{}{certificates}", IDENTITIES.replace("SHA", &digest))
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one journey, step by step")]
async fn a_certificate_is_an_identity_with_policies_until_a_reload_removes_it() {
    let site = Site::new();
    issue(&site);
    let certificates = format!(
        "[security.certificates.ci]\nuri = '{DEPLOY}'\n\
         [security.certificates.viewer]\ncommon_name = 'reader'\npolicies = ['reader']\n"
    );
    let auth = site.client_auth("optional");
    let daemon = site.start(&format!("{auth}{}", identities(&certificates)));
    for (certificate, code) in [
        (None, 401),
        (Some("unknown"), 401),
        (Some("reader"), 200),
        (Some("deploy"), 200),
    ] {
        let got = get(&site, &daemon, certificate, "/services").await;
        assert_eq!(got, Some(code), "{certificate:?}");
    }
    assert_eq!(get(&site, &daemon, None, "/health").await, Some(200));
    let register = async |certificate, token: Option<&str>, id: &str, name: &str| {
        let client = site.client(certificate);
        let body = json!({"service_id": id, "service_name": name, "host": "127.0.0.1", "port": 80});
        let request = ("POST", "/services/register");
        let answer = ask(&client, &daemon, request, token, &body).await;
        answer.unwrap().0
    };
    assert_eq!(register(Some("deploy"), None, "web-1", "web-a").await, 200);
    assert_eq!(register(Some("deploy"), None, "pay-1", "pay").await, 403);
    assert_eq!(register(Some("reader"), None, "web-2", "web-a").await, 403);
    // A token comes before the certificate, and a wrong one is not replaced by it.
    let token = Some("the-secret-of-ci-0123456789");
    assert_eq!(register(Some("reader"), token, "web-2", "web-a").await, 200);
    let wrong = Some("some-other-secret-0123456789");
    assert_eq!(register(Some("deploy"), wrong, "web-3", "web-a").await, 401);
    // The token's owner is the same identity.
    let client = site.client(Some("deploy"));
    let gone = ask(
        &client,
        &daemon,
        ("DELETE", "/services/web-2"),
        None,
        &Value::Null,
    )
    .await;
    assert!(matches!(gone.unwrap().0, 200 | 204));
    let whoami = ask(
        &client,
        &daemon,
        ("GET", "/auth/whoami"),
        None,
        &Value::Null,
    )
    .await;
    let (_, whoami) = whoami.unwrap();
    assert_eq!(
        (&whoami["name"], &whoami["policies"]),
        (&json!("ci"), &json!(["web"]))
    );
    let shown = ask(
        &client,
        &daemon,
        ("GET", "/services/web-1"),
        None,
        &Value::Null,
    )
    .await;
    assert_eq!(shown.unwrap().1["owner"], "ci");

    let mut ended = watch(&site, &daemon, "reader").await;
    let mut kept = watch(&site, &daemon, "deploy").await;
    let fewer = format!("[security.certificates.ci]\nuri = '{DEPLOY}'\n");
    site.configure(&format!("{auth}{}", identities(&fewer)));
    daemon.signal("-HUP");
    timeout(SOON, ended.ended()).await.unwrap();
    assert_eq!(
        get(&site, &daemon, Some("reader"), "/services").await,
        Some(401)
    );
    assert_eq!(register(Some("deploy"), None, "web-4", "web-a").await, 200);
    timeout(SOON, kept.until("web-4")).await.unwrap().unwrap();
}

#[tokio::test]
async fn certificates_that_are_the_only_authentication_stay_required() {
    let site = Site::new();
    issue(&site);
    let required = site.client_auth("required");
    site.configure(&required);
    let config = site.text("musterd.toml");
    // All addresses of this machine; asked on loopback.
    let everywhere = ["--config", &config, "--set", "broker.listen=", "--set"];
    let listen = ["http.listen=0.0.0.0:0"];
    let mut daemon = Daemon::start(&[&everywhere[..], &listen].concat());
    daemon.url = daemon.url.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(
        get(&site, &daemon, Some("reader"), "/services").await,
        Some(200)
    );
    site.configure(&site.client_auth("optional"));
    daemon.signal("-HUP");
    daemon.logged(|line| line.to_string().contains("they stay required"));
    assert_eq!(get(&site, &daemon, None, "/services").await, None);
}
