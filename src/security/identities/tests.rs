use std::{collections::BTreeMap, net::IpAddr, os::unix::fs::PermissionsExt, path::Path};

use super::*;
use crate::security::{AuthMode, Protected, Right, RuleConfig, SecurityError, TokenConfig};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const HOUR: i64 = 3_600_000;

fn after(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn peer(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// Rows in memory.
#[derive(Clone, Debug, Default)]
struct Rows(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl TokenRows for Rows {
    fn store(&self, name: &str, row: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>> {
        match row {
            Some(row) => self.0.lock().insert(name.to_owned(), row),
            None => self.0.lock().remove(name),
        };
        Box::pin(ready(Ok(())))
    }

    fn survive(&self) -> bool {
        true
    }
}

impl Rows {
    fn read(&self) -> Vec<TokenRecord> {
        let rows = self.0.lock();
        let read = rows
            .iter()
            .map(|(name, row)| TokenRecord::read(name.as_bytes(), row));
        read.map(Result::unwrap).collect()
    }
}

const ADMIN_SECRET: &str = "the-secret-of-the-admin";

fn config() -> Config {
    let rule = |text: &str| -> RuleConfig { serde_json::from_str(text).unwrap() };
    Config {
        admin_token: TokenSecret::given(ADMIN_SECRET),
        failures_per_address: 3.into(),
        policies: BTreeMap::from([(
            "web".to_owned(),
            vec![rule(
                r#"{"resource":"service","pattern":"web-*","access":"write"}"#,
            )],
        )]),
        tokens: BTreeMap::from([(
            "ci".to_owned(),
            TokenConfig {
                sha256: Some(TokenDigest::of("the secret of ci").to_hex()),
                policies: vec!["web".to_owned()],
                expires: Some(after(HOUR).to_string()),
                ..TokenConfig::default()
            },
        )]),
        ..Config::default()
    }
}

fn load(config: &Config, rows: &Rows) -> Identities {
    let loaded = Identities::load(config, None, rows.read(), Arc::new(rows.clone()), NOW);
    loaded.unwrap().0
}

fn wanted(name: &str, policy: &str) -> NewToken {
    NewToken {
        name: name.into(),
        policies: Box::new([policy.into()]),
        expires: None,
    }
}

#[test]
fn a_configured_token_is_recognised_until_it_expires() {
    let identities = load(&config(), &Rows::default());
    assert!(identities.is_on());
    let ci = identities
        .recognise("the secret of ci", peer(1), NOW)
        .unwrap();
    assert_eq!(&**ci.name(), "ci");
    assert!(ci.allows(Protected::Service, "web-1", Right::Write));
    assert!(!ci.allows(Protected::Service, "pay", Right::Read));
    let late = identities.recognise("the secret of ci", peer(1), after(HOUR));
    assert_eq!(late.unwrap_err(), LoginRefused::Wrong);
    let found = identities.find("ci", after(1)).unwrap();
    assert_eq!((found.used, found.secrets), (Some(NOW), 1));
    assert_eq!(identities.find("ci", after(HOUR)).unwrap().secrets, 0);
}

#[tokio::test]
async fn what_was_recognised_ends_with_its_token() {
    let identities = load(&config(), &Rows::default());
    let ci = identities
        .recognise("the secret of ci", peer(1), NOW)
        .unwrap();
    identities.end_expired(after(HOUR - 1));
    assert!(futures_util::FutureExt::now_or_never(ci.ended()).is_none());
    let lasting = identities.lasting("ci", None).unwrap();
    assert!(lasting.allows(Protected::Service, "web-1", Right::Read));
    identities.end_expired(after(HOUR));
    ci.ended().await;
    assert!(!lasting.allows(Protected::Service, "web-1", Right::Read));
}

#[tokio::test]
async fn a_token_is_made_rotated_and_revoked_and_survives_a_restart() {
    let rows = Rows::default();
    let identities = load(&config(), &rows);
    let admin = identities.lasting("admin", None).unwrap();
    assert!(admin.is_admin());
    let made = identities.create(&admin, wanted("app", "web"), NOW).await;
    let (shown, first) = made.unwrap();
    assert_eq!((shown.source, shown.used), (TokenSource::RunTime, None));
    let again = identities.create(&admin, wanted("app", "web"), NOW).await;
    assert_eq!(again.unwrap_err(), TokenRefused::Exists("app".into()));
    let stored = format!("{:?}", rows.read());
    assert!(
        !stored.contains(first.expose()),
        "only its digest is stored"
    );

    let identities = load(&config(), &rows);
    let old = identities.recognise(first.expose(), peer(1), NOW).unwrap();
    let overlap = Duration::from_secs(60);
    let (_, second) = identities
        .rotate(&admin, "app", overlap, NOW)
        .await
        .unwrap();
    let new = identities.recognise(second.expose(), peer(1), NOW).unwrap();
    identities
        .recognise(first.expose(), peer(1), after(59_999))
        .unwrap();
    let late = identities.recognise(first.expose(), peer(1), after(60_000));
    assert_eq!(late.unwrap_err(), LoginRefused::Wrong);
    identities.end_expired(after(60_000));
    old.ended().await;
    assert!(futures_util::FutureExt::now_or_never(new.ended()).is_none());
    let lasting = new.lasting();
    assert_eq!(identities.lasting("app", None), None);
    assert_eq!(identities.lasting("app", Some(NOW)), Some(lasting.clone()));

    identities.revoke(&admin, "app").await.unwrap();
    new.ended().await;
    assert!(!lasting.allows(Protected::Service, "web-1", Right::Read));
    assert!(identities.recognise(second.expose(), peer(1), NOW).is_err());
    assert!(rows.read().is_empty());
    let gone = identities.revoke(&admin, "app").await;
    assert_eq!(gone.unwrap_err(), TokenRefused::Unknown);
}

#[tokio::test]
async fn nobody_gives_or_takes_more_than_it_has() {
    let identities = load(&config(), &Rows::default());
    let (admin, ci) = (
        identities.lasting("admin", None).unwrap(),
        identities.lasting("ci", None).unwrap(),
    );
    let refused = identities.create(&ci, wanted("x", "admin"), NOW).await;
    assert_eq!(refused.unwrap_err(), TokenRefused::NotYours("admin".into()));
    let mut of_ci = wanted("x", "web");
    of_ci.expires = ci.expires();
    identities.create(&ci, of_ci, NOW).await.unwrap();
    identities
        .create(&admin, wanted("root", "admin"), NOW)
        .await
        .unwrap();
    for refused in [
        identities
            .rotate(&ci, "root", Duration::ZERO, NOW)
            .await
            .map(drop),
        identities.revoke(&ci, "root").await,
    ] {
        assert_eq!(refused.unwrap_err(), TokenRefused::NotYours("admin".into()));
    }
    let configured = identities.revoke(&admin, "ci").await;
    assert_eq!(
        configured.unwrap_err(),
        TokenRefused::Configured("ci".into())
    );
    let unknown = identities.create(&admin, wanted("y", "none"), NOW).await;
    assert_eq!(
        unknown.unwrap_err(),
        TokenRefused::UnknownPolicy("none".into())
    );
    let named = identities.create(&admin, wanted("a b", "web"), NOW).await;
    assert_eq!(named.unwrap_err(), TokenRefused::Name);
    let off = Identities::default();
    let refused = off.create(&admin, wanted("y", "web"), NOW).await;
    assert_eq!(refused.unwrap_err(), TokenRefused::Off);
}

#[tokio::test(start_paused = true)]
async fn an_address_with_too_many_failures_waits_but_not_with_a_right_token() {
    let identities = load(&config(), &Rows::default());
    let ask = |secret: &str, last| identities.recognise(secret, peer(last), NOW);
    let admin = identities.recognise(ADMIN_SECRET, peer(9), NOW).unwrap();
    let ticket = identities.ticket(&admin, NOW).unwrap().0;
    for _ in 0..3 {
        assert_eq!(ask("guessed", 1).unwrap_err(), LoginRefused::Wrong);
        let wrong = identities.recognise_ticket("guessed", peer(2), NOW);
        assert_eq!(wrong.unwrap_err(), LoginRefused::Wrong);
    }
    let refused = |last| match ask("guessed", last).unwrap_err() {
        LoginRefused::TooMany { wait } => wait.as_secs(),
        LoginRefused::Wrong | LoginRefused::Jwt(_) => 0,
    };
    assert_eq!((refused(1), refused(2), refused(3)), (20, 20, 0));
    let wrong = identities.recognise_ticket("guessed", peer(1), NOW);
    assert!(matches!(wrong, Err(LoginRefused::TooMany { .. })));
    ask("the secret of ci", 1).expect("a right token of another client there");
    let by_ticket = identities.recognise_ticket(ticket.expose(), peer(1), NOW);
    assert_eq!(by_ticket.expect("a right ticket"), admin);
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(ask("guessed", 1).unwrap_err(), LoginRefused::Wrong);
}

#[tokio::test]
async fn a_ticket_is_used_once_and_in_time() {
    let identities = load(&config(), &Rows::default());
    let admin = identities.lasting("admin", None).unwrap();
    let issue = |now| identities.ticket(&admin, now).unwrap().0;
    let take =
        |ticket: &TokenSecret, now| identities.recognise_ticket(ticket.expose(), peer(9), now);
    let ticket = issue(NOW);
    assert!(
        identities.recognise(ticket.expose(), peer(8), NOW).is_err(),
        "a ticket is no token"
    );
    assert_eq!(take(&ticket, after(29_999)).unwrap(), admin);
    assert!(take(&ticket, NOW).is_err());
    let late = issue(NOW);
    assert!(take(&late, after(30_000)).is_err());
}

#[test]
fn the_first_start_writes_an_admin_token_that_others_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let on = Config {
        auth: AuthMode::On,
        ..Config::default()
    };
    let start = |config: &Config, folder: Option<&Path>| {
        Identities::load(config, folder, Vec::new(), Arc::new(NoTokenRows), NOW).unwrap()
    };
    let (identities, first) = start(&on, Some(folder.path()));
    let first = first.unwrap();
    let path = first.path.unwrap();
    assert_eq!(path, folder.path().join("admin-token"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let admin = identities
        .recognise(first.secret.expose(), peer(1), NOW)
        .unwrap();
    assert!(admin.is_admin());
    let (identities, none) = start(&on, Some(folder.path()));
    assert!(none.is_none(), "it is shown once");
    identities
        .recognise(first.secret.expose(), peer(1), NOW)
        .unwrap();
    let (identities, none) = start(&Config::default(), Some(folder.path()));
    assert!(identities.is_on() && none.is_none(), "an identity exists");
    let off = Config {
        auth: AuthMode::Off,
        ..on.clone()
    };
    assert!(!start(&off, Some(folder.path())).0.is_on());
    let (in_memory, first) = start(&on, None);
    assert!(in_memory.is_on() && first.unwrap().path.is_none());
    assert!(!start(&Config::default(), None).0.is_on());
}

#[test]
fn secrets_come_from_files_and_differ() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let mut config = config();
    let token = TokenConfig {
        file: Some(file.display().to_string()),
        policies: vec!["reader".to_owned()],
        ..TokenConfig::default()
    };
    config.tokens.insert("other".to_owned(), token);
    let load = || Identities::load(&config, None, Vec::new(), Arc::new(NoTokenRows), NOW);
    let missing = load().unwrap_err();
    assert!(
        missing.to_string().contains("security.tokens.other.file"),
        "{missing}"
    );
    std::fs::write(&file, "short").unwrap();
    assert!(matches!(load().unwrap_err(), SecurityError::Unusable(_)));
    std::fs::write(&file, "a-secret-of-the-other-one\n").unwrap();
    let (identities, _) = load().unwrap();
    identities
        .recognise("a-secret-of-the-other-one", peer(1), NOW)
        .unwrap();
    std::fs::write(&file, ADMIN_SECRET).unwrap();
    assert!(matches!(load().unwrap_err(), SecurityError::SameSecret(..)));
}

#[test]
fn an_address_of_other_machines_is_open_without_authentication() {
    let off = Identities::default();
    let on = load(&config(), &Rows::default());
    let allowed = Config {
        allow_open: true,
        ..Config::default()
    };
    let open = |config: &Config, identities: &Identities, address: &str| {
        is_open(config, identities, "http.listen", address.parse().unwrap()).ok()
    };
    for address in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert_eq!(
            open(&Config::default(), &off, address),
            Some(false),
            "{address}"
        );
    }
    for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
        assert_eq!(open(&Config::default(), &off, address), None, "{address}");
        assert_eq!(open(&allowed, &off, address), Some(true), "{address}");
        assert_eq!(open(&config(), &on, address), Some(false), "{address}");
    }
}

#[test]
fn an_admin_token_file_that_was_not_written_to_its_end_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin-token");
    let start = |auth| {
        let config = Config {
            auth,
            ..Config::default()
        };
        let rows = Arc::new(NoTokenRows);
        Identities::load(&config, Some(folder.path()), Vec::new(), rows, NOW).unwrap()
    };
    let whole = start(AuthMode::On).1.unwrap().secret;
    // Also an interrupted write leaves another file, which the next start replaces.
    std::fs::write(folder.path().join("admin-token.new"), "mst_").unwrap();
    for left in [0, 4, 40] {
        std::fs::write(&path, &whole.expose()[..left]).unwrap();
        let (identities, first) = start(AuthMode::Auto);
        let first = first.expect("a new one is shown");
        assert!(identities.is_on());
        assert_ne!(first.secret, whole);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.trim(), first.secret.expose());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let cut = identities.recognise(&whole.expose()[..left], peer(1), NOW);
        assert!(cut.is_err());
        assert!(start(AuthMode::Auto).1.is_none());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    std::fs::write(&path, "chosen-by-an-operator").unwrap();
    let (identities, none) = start(AuthMode::On);
    assert!(none.is_none());
    let chosen = identities.recognise("chosen-by-an-operator", peer(1), NOW);
    chosen.unwrap();
}

mod giving;
