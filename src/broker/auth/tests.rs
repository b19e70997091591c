use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{
    Authenticator, Config, ConfigFault, Credentials, Mechanism, Refused, User, Users,
    config::{PermissionConfig, UserConfig},
    password::{HashAlgorithm, Hashed, tests::hash_of_cost},
};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn elsewhere() -> IpAddr {
    "192.0.2.7".parse().expect("an address")
}

fn credentials(user: &str, password: &str) -> Credentials {
    Credentials {
        user: user.to_owned(),
        password: Bytes::copy_from_slice(password.as_bytes()),
    }
}

/// `plain` with a password, `hashed` with a hash, `certified` with neither.
fn users() -> Users {
    users_with_cost(8)
}

/// The hash takes so many KiB of memory, and time accordingly.
fn users_with_cost(kib: u32) -> Users {
    let all_of_slash = [("/".to_owned(), PermissionConfig::all())];
    let hash = hash_of_cost(b"right", kib);
    let user = |password: Option<&str>, password_hash: Option<String>| UserConfig {
        password: password.map(|password| password.to_owned().into()),
        password_hash: password_hash.map(Into::into),
        permissions: all_of_slash.clone().into(),
        ..UserConfig::default()
    };
    Users::from([
        ("plain".to_owned(), user(Some("right"), None)),
        ("hashed".to_owned(), user(None, Some(hash))),
        ("certified".to_owned(), user(None, None)),
    ])
}

fn authenticator(config: &Config) -> Authenticator {
    Authenticator::new(config, &users()).expect("well-formed")
}

fn name(login: Result<Arc<User>, Refused>) -> Result<String, Refused> {
    login.map(|user| user.name().to_owned())
}

#[track_caller]
fn check(login: Result<Arc<User>, Refused>, expected: Result<&str, Refused>) {
    assert_eq!(name(login), expected.map(str::to_owned));
}

#[tokio::test]
async fn the_right_password_is_accepted() {
    let auth = authenticator(&Config::default());
    for user in ["plain", "hashed"] {
        check(
            auth.login(&credentials(user, "right"), elsewhere()).await,
            Ok(user),
        );
        check(
            auth.login(&credentials(user, "wrong"), elsewhere()).await,
            Err(Refused::Wrong),
        );
        check(
            auth.login(&credentials(user, ""), elsewhere()).await,
            Err(Refused::Wrong),
        );
        check(
            auth.login(&credentials(user, "right"), elsewhere()).await,
            Ok(user),
        );
    }
    for password in ["", "right"] {
        let login = auth
            .login(&credentials("certified", password), elsewhere())
            .await;
        check(login, Err(Refused::Wrong));
        check(
            auth.login(&credentials("nobody", password), elsewhere())
                .await,
            Err(Refused::Wrong),
        );
    }
}

#[tokio::test]
async fn guest_can_log_in_from_loopback_only() {
    let auth = authenticator(&Config::default());
    let guest = credentials("guest", "guest");
    check(auth.login(&guest, HERE).await, Ok("guest"));
    check(
        auth.login(&guest, "::1".parse().expect("an address")).await,
        Ok("guest"),
    );
    check(
        auth.login(&guest, "::ffff:127.0.0.1".parse().expect("an address"))
            .await,
        Ok("guest"),
    );
    check(
        auth.login(&guest, elsewhere()).await,
        Err(Refused::NotLoopback),
    );
    check(
        auth.login(&credentials("guest", "wrong"), HERE).await,
        Err(Refused::Wrong),
    );
}

#[tokio::test]
async fn guest_can_be_removed_or_replaced() {
    let guest = credentials("guest", "guest");
    let auth = authenticator(&Config {
        guest: false,
        ..Config::default()
    });
    check(auth.login(&guest, HERE).await, Err(Refused::Wrong));

    let own = UserConfig {
        password: Some("own".to_owned().into()),
        ..UserConfig::default()
    };
    let users = Users::from([("guest".to_owned(), own)]);
    let auth = Authenticator::new(&Config::default(), &users).expect("well-formed");
    check(auth.login(&guest, HERE).await, Err(Refused::Wrong));
    check(
        auth.login(&credentials("guest", "own"), elsewhere()).await,
        Ok("guest"),
    );
}

#[tokio::test]
async fn a_password_that_was_right_is_not_hashed_again() {
    let auth = authenticator(&Config::default());
    let right = credentials("hashed", "right");
    check(auth.login(&right, HERE).await, Ok("hashed"));
    // With no turn left a hash could never be computed.
    let _turns = auth
        .checks
        .clone()
        .acquire_many_owned(2)
        .await
        .expect("open");
    check(auth.login(&right, HERE).await, Ok("hashed"));
    let wrong = credentials("hashed", "wrong");
    let wrong = tokio::time::timeout(Duration::from_millis(50), auth.login(&wrong, HERE));
    assert!(wrong.await.is_err(), "a wrong password waits for its turn");
}

#[tokio::test]
async fn one_hash_serves_all_logins_with_the_same_password() {
    let config = Config {
        checks_at_once: 1.into(),
        ..Config::default()
    };
    let users = users_with_cost(4096);
    let right = credentials("hashed", "right");
    let time = async |logins: usize| {
        let auth = Authenticator::new(&config, &users).expect("well-formed");
        let began = std::time::SystemTime::now();
        for login in join_all((0..logins).map(|_| auth.login(&right, HERE))).await {
            check(login, Ok("hashed"));
        }
        began.elapsed().expect("a clock")
    };
    let (one, hundred) = (time(1).await, time(100).await);
    assert!(
        hundred < one * 30,
        "one took {one:?}, a hundred took {hundred:?}"
    );
}

#[tokio::test]
async fn a_login_beyond_the_waiting_limit_is_refused() {
    let config = Config {
        checks_at_once: 1.into(),
        checks_waiting: 1.into(),
        ..Config::default()
    };
    let auth = authenticator(&config);
    let _turn = auth.checks.clone().acquire_owned().await.expect("open");
    let wrong = credentials("hashed", "wrong");
    let mut first = std::pin::pin!(auth.login(&wrong, HERE));
    assert!(futures_util::poll!(first.as_mut()).is_pending());
    check(auth.login(&wrong, HERE).await, Err(Refused::Busy));
    check(
        auth.login(&credentials("plain", "right"), HERE).await,
        Ok("plain"),
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_slowed_down() {
    let auth = authenticator(&Config {
        failures_per_address: 3.into(),
        ..Config::default()
    });
    for _ in 0..3 {
        check(
            auth.login(&credentials("plain", "wrong"), elsewhere())
                .await,
            Err(Refused::Wrong),
        );
    }
    let right = credentials("plain", "right");
    check(
        auth.login(&right, elsewhere()).await,
        Err(Refused::TooManyFailures),
    );
    check(auth.login(&right, HERE).await, Ok("plain"));
    tokio::time::advance(Duration::from_secs(60)).await;
    check(auth.login(&right, elsewhere()).await, Ok("plain"));
}

#[tokio::test]
async fn waiting_logins_count_towards_the_limit_of_failures() {
    let config = Config {
        checks_at_once: 1.into(),
        failures_per_address: 3.into(),
        ..Config::default()
    };
    let auth = authenticator(&config);
    let wrong = credentials("hashed", "wrong");
    let logins = join_all((0..10).map(|_| auth.login(&wrong, HERE))).await;
    let checked = logins
        .iter()
        .filter(|login| matches!(login, Err(Refused::Wrong)))
        .count();
    assert_eq!(checked, 3);
}

#[test]
fn a_client_that_does_not_wait_for_the_answer_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime");
    let config = Config {
        checks_at_once: 1.into(),
        failures_per_address: 1.into(),
        ..Config::default()
    };
    let auth = authenticator(&config);
    runtime.block_on(async {
        // The only thread for hashes is busy, so that the answer cannot come before the client is gone.
        let (free, busy) = std::sync::mpsc::sync_channel::<()>(1);
        let occupied = tokio::task::spawn_blocking(move || busy.recv());
        {
            let wrong = credentials("hashed", "wrong");
            let mut login = std::pin::pin!(auth.login(&wrong, HERE));
            assert!(futures_util::poll!(login.as_mut()).is_pending());
        }
        free.send(()).expect("it waits for this");
        occupied.await.expect("no panic").expect("it was freed");
        // Its turn is over when the next one begins.
        let login = auth.login(&credentials("hashed", "right"), HERE).await;
        check(login, Err(Refused::TooManyFailures));
    });
}

#[test]
fn a_certificate_names_a_user() {
    let auth = authenticator(&Config::default());
    check(
        auth.login_certified("certified", elsewhere()),
        Ok("certified"),
    );
    check(
        auth.login_certified("nobody", elsewhere()),
        Err(Refused::Wrong),
    );
    check(
        auth.login_certified("guest", elsewhere()),
        Err(Refused::NotLoopback),
    );
}

#[test]
fn a_user_enters_only_vhosts_it_has_permissions_for() {
    let auth = authenticator(&Config::default());
    let user = auth.login_certified("plain", HERE).expect("let in");
    assert!(user.grant("/").is_ok());
    let denied = user.grant("other").expect_err("refused");
    assert_eq!(
        denied.to_string(),
        "access to vhost 'other' refused for user 'plain'"
    );
    let guest = auth.login_certified("guest", HERE).expect("let in");
    assert!(guest.grant("anything").is_ok());
}

#[test]
fn every_fault_is_reported() {
    let broken = UserConfig {
        password_hash: Some("secret".to_owned().into()),
        permissions: [(
            "/".to_owned(),
            PermissionConfig {
                read: "(".to_owned(),
                ..PermissionConfig::all()
            },
        )]
        .into(),
        ..UserConfig::default()
    };
    let both = UserConfig {
        password: Some("a".to_owned().into()),
        password_hash: Some("b".to_owned().into()),
        ..UserConfig::default()
    };
    let users = Users::from([("u".to_owned(), broken), ("v".to_owned(), both)]);
    let faults = Authenticator::new(&Config::default(), &users).expect_err("refused");
    let keys: Vec<_> = faults
        .iter()
        .map(|ConfigFault { key, .. }| key.as_str())
        .collect();
    let expected = [
        "broker.users.u.password_hash",
        "broker.users.u.permissions.\"/\".read",
        "broker.users.v",
    ];
    assert_eq!(keys, expected);
    assert!(
        faults[0].message.contains("musterd hash-password"),
        "{}",
        faults[0].message
    );
}

#[test]
fn the_sections_read_from_toml() {
    #[derive(serde::Deserialize)]
    struct Sections {
        auth: Config,
        users: Users,
    }
    let text = r#"
        [auth]
        guest = false
        failures_forgotten = "90s"
        [users.orders]
        password = "secret"
        tags = ["impersonator"]
        [users.orders.permissions."/"]
        configure = "^orders"
        read = ".*"
    "#;
    let sections: Sections = toml::from_str(text).expect("well-formed");
    assert_eq!(sections.auth.failures_forgotten, Duration::from_secs(90));
    assert_eq!(sections.users["orders"].permissions["/"].write, "");
    assert!(!format!("{:?}", sections.users).contains("secret"));
    let auth = Authenticator::new(&sections.auth, &sections.users).expect("well-formed");
    let grant = auth
        .login_certified("orders", HERE)
        .expect("let in")
        .grant("/")
        .expect("allowed");
    assert!(grant.may_publish_as(b"bob"));
    assert!(
        toml::from_str::<Config>("gast = true").is_err(),
        "an unknown key"
    );
}

#[test]
fn errors_of_logins_do_not_reveal_users() {
    let text = |refused: Refused| refused.explanation(Mechanism::Plain, "u");
    assert_eq!(
        text(Refused::Wrong),
        "Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
    );
    assert!(text(Refused::TooManyFailures).ends_with("try again later"));
    assert!(text(Refused::NotLoopback).ends_with("user 'u' can only connect via localhost"));
}

/// Whether a login waits for a hash to be computed, while no hash may be computed.
async fn waits_for_a_hash(auth: &Authenticator, user: &str, password: &str) -> bool {
    let all = u32::try_from(auth.checks.available_permits()).expect("few");
    let checks = auth.checks.clone();
    let _held = checks.acquire_many_owned(all).await.expect("open");
    let credentials = credentials(user, password);
    let mut login = Box::pin(auth.login(&credentials, HERE));
    futures_util::poll!(&mut login).is_pending()
}

#[tokio::test]
async fn refused_logins_take_the_same_time_for_any_user() {
    let auth = authenticator(&Config::default());
    for user in ["plain", "hashed", "certified", "guest", "nobody", ""] {
        for password in ["wrong", ""] {
            assert!(waits_for_a_hash(&auth, user, password).await, "{user}");
        }
    }
    assert!(
        !waits_for_a_hash(&auth, "plain", "right").await,
        "nothing to hide"
    );
    let none_hashed = Authenticator::new(&Config::default(), &Users::new()).expect("well-formed");
    assert!(!waits_for_a_hash(&none_hashed, "nobody", "wrong").await);
}

#[test]
fn the_slowest_hash_is_that_of_the_highest_cost() {
    let mut users = users_with_cost(8);
    users.extend(
        users_with_cost(64)
            .into_iter()
            .map(|(name, user)| (format!("slow-{name}"), user)),
    );
    let auth = Authenticator::new(&Config::default(), &users).expect("well-formed");
    let cost = auth.slowest.as_ref().map(Hashed::cost);
    let cost_of = |kib| {
        Hashed::read(&hash_of_cost(b"right", kib), HashAlgorithm::Argon2)
            .expect("a hash")
            .cost()
    };
    assert_eq!(cost, Some(cost_of(64)));
    assert!(cost_of(64) > cost_of(8));
}

#[tokio::test]
async fn an_empty_password_is_refused_even_if_its_hash_is_configured() {
    let user = UserConfig {
        password_hash: Some(hash_of_cost(b"", 8).into()),
        ..UserConfig::default()
    };
    let users = Users::from([("empty".to_owned(), user)]);
    let auth = Authenticator::new(&Config::default(), &users).expect("well-formed");
    for _ in 0..2 {
        check(
            auth.login(&credentials("empty", ""), HERE).await,
            Err(Refused::Wrong),
        );
    }
}

#[test]
fn empty_names_and_passwords_are_faults() {
    let with_password = |password: &str| UserConfig {
        password: Some(password.to_owned().into()),
        ..UserConfig::default()
    };
    let with_hash = UserConfig {
        password_hash: Some(String::new().into()),
        ..UserConfig::default()
    };
    for (name, user, key) in [
        ("app", with_password(""), "broker.users.app.password"),
        ("app", with_hash, "broker.users.app.password_hash"),
        ("", with_password("right"), "broker.users."),
    ] {
        let users = Users::from([(name.to_owned(), user)]);
        let faults = Authenticator::new(&Config::default(), &users).expect_err("a fault");
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, [key]);
    }
}
