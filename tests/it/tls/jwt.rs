//! JSON Web Tokens of an identity provider whose keys come over HTTPS from a private CA.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use parking_lot::Mutex;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::site::{Connection, PATIENCE, Server, Site, address, ask};
use crate::daemon::Daemon;

/// A key of the provider.
struct Signer {
    id: &'static str,
    key: KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { id, key }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key_raw()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": text(x), "y": text(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        encode(&header, claims, &key).unwrap()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

fn claims(seconds: u64, edit: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "https://idp.test", "aud": "musterd", "sub": "ann", "exp": now() + seconds,
        "realm_access": {"roles": ["web-team"]},
    });
    edit(&mut claims);
    claims
}

fn configuration(site: &Site, keys: &Server) -> String {
    format!(
        "[outbound.tls]\nca = '{}'\n\
         [security.policies]\nweb = [{{ resource = 'service', pattern = 'web-*', access = 'write' }}]\n\
         [security.jwt]\nissuer = 'https://idp.test'\naudience = ['musterd']\nleeway = '0s'\n\
         jwks_url = 'https://localhost:{}/keys'\npolicies_claim = 'realm_access.roles'\n\
         [security.jwt.policies]\nweb-team = ['web']\n",
        site.text("root.pem"),
        keys.at.port(),
    )
}

async fn get(site: &Site, daemon: &Daemon, token: &str) -> (u16, String) {
    let client = site.client(None);
    let request = ("GET", "/services");
    let answer = ask(&client, daemon, request, Some(token), &Value::Null).await;
    let (code, body) = answer.unwrap();
    (code, body["detail"].as_str().unwrap_or_default().to_owned())
}

async fn until_accepted(site: &Site, daemon: &Daemon, token: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, detail) = get(site, daemon, token).await;
        if code == 200 {
            return;
        }
        assert!(Instant::now() < deadline, "{code} {detail}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one journey, step by step")]
async fn jwts_are_accepted_by_their_claims_and_keys_and_end_in_time() {
    let site = Site::new();
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let set = |keys: &[&Signer]| {
        let keys: Vec<_> = keys.iter().map(|signer| signer.jwk()).collect();
        json!({"keys": keys}).to_string()
    };
    let shown = Arc::new(Mutex::new(set(&[&one])));
    let answer = Arc::clone(&shown);
    let keys = Server::start(&site, ("127.0.0.1", false), move || answer.lock().clone()).await;
    let daemon = site.start(&configuration(&site, &keys));
    let good = one.sign(&claims(600, |_| ()));
    until_accepted(&site, &daemon, &good).await;

    let client = site.client(None);
    let register = async |id: &str, name: &str| {
        let body = json!({"service_id": id, "service_name": name, "host": "127.0.0.1", "port": 80});
        let request = ("POST", "/services/register");
        let answer = ask(&client, &daemon, request, Some(&good), &body).await;
        answer.unwrap().0
    };
    assert_eq!(register("web-1", "web-a").await, 200);
    assert_eq!(register("pay-1", "pay").await, 403);
    let shown_instance = ask(
        &client,
        &daemon,
        ("GET", "/services/web-1"),
        Some(&good),
        &Value::Null,
    );
    assert_eq!(shown_instance.await.unwrap().1["owner"], "jwt:ann");

    let none = {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({"alg": "none"}));
        format!("{header}.{}.", part(&claims(600, |_| ())))
    };
    let forged = Signer {
        id: "one",
        key: KeyPair::generate().unwrap(),
    };
    for (token, expected) in [
        (
            one.sign(&claims(600, |all| all["exp"] = json!(now() - 1))),
            "expired",
        ),
        (
            one.sign(&claims(600, |all| all["aud"] = json!("other"))),
            "claim aud",
        ),
        (
            one.sign(&claims(600, |all| all["iss"] = json!("other"))),
            "claim iss",
        ),
        (forged.sign(&claims(600, |_| ())), "signature"),
        (none, "can't be read"),
        ("not-a-jwt-0123456789".to_owned(), "token is unknown"),
    ] {
        let (code, detail) = get(&site, &daemon, &token).await;
        assert_eq!(code, 401, "{expected}");
        assert!(detail.contains(expected), "{detail}");
    }

    // Another key is read when a JWT names it. What the removed one has signed ends.
    let mut stream = Connection::open(&client, address(&daemon)).await.unwrap();
    let sent = stream
        .send(("GET", "/watch"), Some(&good), &Value::Null)
        .await;
    sent.unwrap();
    stream.until("event: snapshot").await.unwrap();
    *shown.lock() = set(&[&two]);
    let rotated = two.sign(&claims(600, |_| ()));
    until_accepted(&site, &daemon, &rotated).await;
    assert_eq!(get(&site, &daemon, &good).await.0, 401);
    timeout(PATIENCE, stream.ended()).await.unwrap();

    // A stream ends with its JWT.
    let short = two.sign(&claims(3, |_| ()));
    let mut stream = Connection::open(&client, address(&daemon)).await.unwrap();
    let sent = stream
        .send(("GET", "/watch"), Some(&short), &Value::Null)
        .await;
    sent.unwrap();
    stream.until("event: snapshot").await.unwrap();
    timeout(PATIENCE, stream.ended()).await.unwrap();
    assert!(get(&site, &daemon, &short).await.1.contains("expired"));
}

#[tokio::test]
async fn keys_in_a_file_are_read_at_the_start_and_again() {
    let site = Site::new();
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let write = |signer: &Signer| {
        let set = json!({"keys": [signer.jwk()]});
        std::fs::write(site.path("keys.json"), set.to_string()).unwrap();
    };
    write(&one);
    let daemon = site.start(&format!(
        "[security.jwt]\nissuer = 'https://idp.test'\naudience = ['musterd']\njwks_file = '{}'\n\
         policies_claim = 'scope'\nrefresh = '1s'\n[security.jwt.policies]\nread = ['reader']\n",
        site.text("keys.json")
    ));
    let token = |signer: &Signer| signer.sign(&claims(600, |all| all["scope"] = json!("read x")));
    assert_eq!(get(&site, &daemon, &token(&one)).await.0, 200);
    write(&two);
    until_accepted(&site, &daemon, &token(&two)).await;
    // A file that cannot be used changes nothing.
    std::fs::write(site.path("keys.json"), "nothing").unwrap();
    daemon.logged(|line| line.to_string().contains("keys.json"));
    assert_eq!(get(&site, &daemon, &token(&two)).await.0, 200);
}
