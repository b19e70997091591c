use futures_util::FutureExt;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;

use super::*;
use crate::security::{Identities, NoTokenRows, Protected, Right};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// The same in seconds.
const NOW_S: i64 = NOW.0 / 1000;

fn after(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

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
        // An uncompressed point: 4, then both coordinates.
        let point = self.key.public_key_raw();
        let (x, y) = point[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.id, "x": text(x), "y": text(y),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        encode(&header, claims, &key).unwrap()
    }
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

fn claims(edit: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "https://idp.example.com", "aud": ["other", "musterd"], "sub": "ann",
        "exp": NOW_S + 60, "groups": ["platform", "unknown"],
    });
    edit(&mut claims);
    claims
}

fn configuration() -> Config {
    let mut config = Config::default();
    config.jwt.issuer = "https://idp.example.com".to_owned();
    config.jwt.audience = vec!["musterd".to_owned()];
    config.jwt.jwks_url = "https://idp.example.com/keys".to_owned();
    config.jwt.leeway = Duration::from_secs(10).into();
    config.jwt.sessions_max = 2.into();
    let policies = ["operator".to_owned()].to_vec();
    config.jwt.policies = [("platform".to_owned(), policies)].into();
    config
}

fn provider(keys: &[Value]) -> JwtIdentities {
    let config = configuration();
    let jwt = JwtIdentities::new(&config.jwt, &config, None).unwrap();
    jwt.set_keys(&set(keys)).unwrap();
    jwt
}

fn recognise(jwt: &JwtIdentities, token: &str, now: Timestamp) -> Result<Principal, JwtFault> {
    jwt.recognise(token, TokenDigest::of(token), now)
}

#[test]
fn a_jwt_names_an_identity_and_its_policies() {
    let signer = Signer::new("one");
    let jwt = provider(&[signer.jwk()]);
    let token = signer.sign(&claims(|_| ()));
    assert!(has_form(&token));
    let principal = recognise(&jwt, &token, NOW).unwrap();
    assert_eq!(&**principal.name(), "jwt:ann");
    assert_eq!(principal.policies(), ["operator".into()]);
    assert_eq!(principal.expires(), Some(after(70)));
    assert!(principal.allows(Protected::Transport, "", Right::Write));
    assert!(!principal.allows(Protected::Token, "x", Right::Read));
    assert_eq!(recognise(&jwt, &token, NOW).unwrap(), principal);
    let without = signer.sign(&claims(|claims| claims["groups"] = json!("other words")));
    let nobody = recognise(&jwt, &without, NOW).unwrap();
    assert!(!nobody.allows_some(Protected::Service, Right::Read));
}

#[test]
fn every_other_jwt_is_refused_by_what_is_wrong_with_it() {
    let (signer, stranger) = (Signer::new("one"), Signer::new("two"));
    let jwt = provider(&[signer.jwk()]);
    for (key, value, fault) in [
        ("iss", json!("https://evil.example"), JwtFault::Issuer),
        ("iss", json!(["https://idp.example.com"]), JwtFault::Issuer),
        ("aud", json!("other"), JwtFault::Audience),
        ("aud", json!([]), JwtFault::Audience),
        ("aud", Value::Null, JwtFault::Audience),
        ("exp", json!(NOW_S - 10), JwtFault::Expired),
        ("exp", Value::Null, JwtFault::Expired),
        ("exp", json!("tomorrow"), JwtFault::Expired),
        ("exp", json!(-1), JwtFault::Expired),
        ("exp", json!(1e300), JwtFault::Expired),
        ("nbf", json!(NOW_S + 11), JwtFault::TooEarly),
        ("nbf", json!("now"), JwtFault::TooEarly),
        ("sub", json!(""), JwtFault::Name),
        ("sub", json!("a\nb"), JwtFault::Name),
        ("sub", json!(7), JwtFault::Name),
        ("sub", json!("x".repeat(257)), JwtFault::Name),
    ] {
        let token = signer.sign(&claims(|claims| claims[key] = value.clone()));
        let refused = recognise(&jwt, &token, NOW).unwrap_err();
        assert_eq!(refused, fault, "{key} {value}");
    }
    for (key, value) in [
        ("exp", json!(NOW_S - 9)),
        ("nbf", json!(NOW_S + 10)),
        ("aud", json!("musterd")),
    ] {
        let token = signer.sign(&claims(|claims| claims[key] = value.clone()));
        assert!(recognise(&jwt, &token, NOW).is_ok(), "{key} {value}");
    }
    let unknown = stranger.sign(&claims(|_| ()));
    assert_eq!(recognise(&jwt, &unknown, NOW), Err(JwtFault::UnknownKey));
    let forged = Signer {
        id: "one",
        key: stranger.key,
    };
    let forged = forged.sign(&claims(|_| ()));
    assert_eq!(recognise(&jwt, &forged, NOW), Err(JwtFault::Signature));
}

#[test]
fn no_algorithm_and_no_secret_stands_in_for_a_key() {
    let signer = Signer::new("one");
    let jwt = provider(&[signer.jwk()]);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = part(&claims(|_| ()));
    let none = format!("{}.{body}.", part(&json!({"alg": "none"})));
    assert!(has_form(&none));
    assert_eq!(recognise(&jwt, &none, NOW), Err(JwtFault::Unreadable));
    // The public key as the secret of an HMAC.
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("one".to_owned());
    let secret = EncodingKey::from_secret(signer.key.public_key_raw());
    let hmac = encode(&header, &claims(|_| ()), &secret).unwrap();
    assert_eq!(recognise(&jwt, &hmac, NOW), Err(JwtFault::Algorithm));
    let good = signer.sign(&claims(|_| ()));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let stripped = format!("{signed}.");
    assert_eq!(recognise(&jwt, &stripped, NOW), Err(JwtFault::Signature));
    let critical = json!({"alg": "ES256", "kid": "one", "crit": ["x"], "x": 1});
    let critical = format!("{}.{body}.{signature}", part(&critical));
    assert_eq!(recognise(&jwt, &critical, NOW), Err(JwtFault::Unreadable));
    for text in ["eyJ.eyJ.x", "eyJ..", &"eyJ.a.b".repeat(4000)] {
        assert_eq!(recognise(&jwt, text, NOW), Err(JwtFault::Unreadable));
    }
    for text in ["mst_0123", "eyJhbGciOi", "a.b.c", "eyJ.a.b.c", "eyJ.a b.c"] {
        assert!(!has_form(text), "{text}");
    }
}

#[test]
fn a_jwt_ends_with_its_time_with_its_key_and_when_there_are_too_many() {
    let (one, two) = (Signer::new("one"), Signer::new("two"));
    let jwt = provider(&[one.jwk(), two.jwk()]);
    let until = |signer: &Signer, seconds: i64| {
        let token = signer.sign(&claims(|claims| claims["exp"] = json!(NOW_S + seconds)));
        recognise(&jwt, &token, NOW).unwrap()
    };
    let is_over = |principal: &Principal| principal.ended().now_or_never().is_some();
    let (short, long) = (until(&one, 20), until(&two, 60));
    jwt.end_expired(after(29));
    assert!(!is_over(&short));
    jwt.end_expired(after(30));
    assert!(is_over(&short) && !is_over(&long));
    assert!(!short.allows_some(Protected::Service, Right::Read));
    // Two are remembered at most: the one that would end first makes room.
    let (second, third) = (until(&one, 50), until(&one, 70));
    assert!(is_over(&second) && !is_over(&long) && !is_over(&third));
    jwt.set_keys(&set(&[one.jwk()])).unwrap();
    assert!(is_over(&long) && !is_over(&third), "its key is gone");
    jwt.end_all();
    assert!(is_over(&third));
}

#[test]
fn a_set_of_keys_is_read_as_far_as_it_can_be_used() {
    let accepted = [Algorithm::ES256, Algorithm::RS256];
    let read = |keys: &[Value]| KeySet::read(&set(keys), &accepted).map(|set| set.keys.len());
    let good = Signer::new("one").jwk();
    let with = |key: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[key] = value;
        jwk
    };
    assert_eq!(read(std::slice::from_ref(&good)).unwrap(), 1);
    let others = [
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "unknown"}),
        json!(7),
        with("use", json!("enc")),
        with("alg", json!("ECDH-ES")),
        with("alg", json!("ES384")),
        with("crv", json!("P-521")),
        with("x", json!("***")),
    ];
    for other in &others {
        assert!(read(std::slice::from_ref(other)).is_err(), "{other}");
    }
    assert_eq!(read(&[&others[..], &[good]].concat()).unwrap(), 1);
    for text in ["", "[]", "{}", "{\"keys\": 1}", "{\"keys\": []}"] {
        assert!(KeySet::read(text.as_bytes(), &accepted).is_err(), "{text}");
    }
}

#[test]
fn policies_come_from_a_path_of_claims() {
    let claims = json!({"a": {"b": ["x", 1, "y"]}, "a.c": "one two", "scope": "r w"});
    let claims = claims.as_object().unwrap();
    for (path, expected) in [
        ("a.b", &["x", "y"][..]),
        ("a.c", &["one", "two"]),
        ("scope", &["r", "w"]),
        ("a", &[]),
        ("a.b.c", &[]),
        ("none", &[]),
    ] {
        assert_eq!(values(claim(claims, path)), expected, "{path}");
    }
}

#[test]
fn keys_of_a_place_that_a_reload_has_replaced_are_dropped() {
    let signer = Signer::new("one");
    let (keys, token) = (set(&[signer.jwk()]), signer.sign(&claims(|_| ())));
    let mut config = configuration();
    let rows = Arc::new(NoTokenRows);
    let loaded = Identities::load(&config, None, Vec::new(), rows, NOW);
    let (identities, _) = loaded.unwrap();
    let old = identities.jwks_source().unwrap();
    config.jwt.jwks_url = "https://other.example.com/keys".to_owned();
    identities.reload(&config).unwrap();
    assert_eq!(identities.set_jwks(&old, &keys).unwrap(), 0);
    assert!(identities.known(&token, NOW).is_none());
    let new = identities.jwks_source().unwrap();
    assert_eq!(identities.set_jwks(&new, &keys).unwrap(), 1);
    assert!(identities.known(&token, NOW).is_some());
}
