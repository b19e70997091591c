use std::net::Ipv4Addr;

use bytes::Bytes;
use bytesize::ByteSize;

use super::*;
use crate::broker::auth::{
    Credentials, Refused,
    config::{PermissionConfig, UserConfig},
};

fn with_user(name: &str, password: &str) -> Config {
    let user = UserConfig {
        password: Some(password.to_owned().into()),
        permissions: [("/".to_owned(), PermissionConfig::all())].into(),
        ..UserConfig::default()
    };
    Config {
        users: [(name.to_owned(), user)].into(),
        ..Config::default()
    }
}

async fn login(broker: &Broker, user: &str, password: &'static str) -> Result<(), Refused> {
    let credentials = Credentials {
        user: user.to_owned(),
        password: Bytes::from_static(password.as_bytes()),
    };
    let access = broker.shared.access.load_full();
    let peer = Ipv4Addr::LOCALHOST.into();
    access.auth.login(&credentials, peer).await.map(drop)
}

#[tokio::test]
async fn users_are_replaced() {
    let broker = Broker::new(with_user("old", "first")).unwrap();
    assert_eq!(login(&broker, "old", "first").await, Ok(()));
    let reloaded = broker.reload(&with_user("new", "second")).unwrap();
    assert_eq!(reloaded.changed, ["broker.users"]);
    assert_eq!(login(&broker, "old", "first").await, Err(Refused::Wrong));
    assert_eq!(login(&broker, "new", "second").await, Ok(()));
    assert_eq!(broker.shared.access_version.load(Relaxed), 1);
}

#[tokio::test]
async fn a_configuration_with_faults_changes_nothing() {
    let broker = Broker::new(with_user("old", "first")).unwrap();
    let mut faulty = with_user("new", "");
    faulty.heartbeat = std::time::Duration::from_secs(5).into();
    let error = broker.reload(&faulty).unwrap_err().to_string();
    assert!(error.contains("broker.users.new.password"), "{error}");
    assert_eq!(login(&broker, "old", "first").await, Ok(()));
    assert_eq!(broker.shared.access.load().heartbeat_s, 60);
}

#[tokio::test]
async fn failed_logins_are_remembered_across_a_reload() {
    let mut config = with_user("one", "first");
    config.auth.failures_per_address = 2.into();
    let broker = Broker::new(config.clone()).unwrap();
    for _ in 0..2 {
        assert_eq!(login(&broker, "one", "wrong").await, Err(Refused::Wrong));
    }
    let refused = Err(Refused::TooManyFailures);
    assert_eq!(login(&broker, "one", "first").await, refused);
    broker.reload(&config).unwrap();
    assert_eq!(login(&broker, "one", "first").await, refused);
    config.auth.failures_per_address = 20.into();
    assert_eq!(broker.reload(&config).unwrap().changed, ["broker.auth"]);
    assert_eq!(login(&broker, "one", "first").await, Ok(()));
}

#[test]
fn each_key_is_in_effect_or_needs_a_restart() {
    type Change = fn(&mut Config);
    let cases: [(Change, &[&str], &[&str]); 10] = [
        (|_| {}, &[], &[]),
        (|config| config.auth.guest = false, &["broker.auth"], &[]),
        (
            |config| config.auth_mechanisms.truncate(1),
            &["broker.auth_mechanisms"],
            &[],
        ),
        (
            |config| config.tls.certificate = "other.pem".into(),
            &["broker.tls"],
            &[],
        ),
        (
            |config| config.listen = "127.0.0.1:1".to_owned(),
            &[],
            &["broker.listen"],
        ),
        (
            |config| config.tls.listen = "127.0.0.1:1".to_owned(),
            &[],
            &["broker.tls.listen"],
        ),
        (
            |config| config.vhosts.push("more".to_owned()),
            &[],
            &["broker.vhosts"],
        ),
        (
            |config| config.limits.memory = ByteSize::mib(1).into(),
            &[],
            &["broker.limits"],
        ),
        (
            |config| config.stamp_header = "x".to_owned(),
            &[],
            &["broker.stamp_header"],
        ),
        (
            |config| config.stamp_user_header = "x".to_owned(),
            &[],
            &["broker.stamp_user_header"],
        ),
    ];
    for (change, changed, needs_restart) in cases {
        let broker = Broker::new(Config::default()).unwrap();
        let mut config = Config::default();
        change(&mut config);
        let reloaded = broker.reload(&config).unwrap();
        let expected = Reloaded {
            changed: changed.to_vec(),
            needs_restart: needs_restart.to_vec(),
        };
        assert_eq!(reloaded, expected);
    }
}
