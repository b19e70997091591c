use std::net::Ipv4Addr;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::broker::{
    Config,
    auth::{Access, Credentials, Refused, Resource},
};

/// Keeps rows, until it fails.
#[derive(Debug, Default)]
struct Rows {
    rows: Mutex<BTreeMap<String, Vec<u8>>>,
    fails: Mutex<bool>,
}

impl UserRows for Arc<Rows> {
    fn store(
        &self,
        rows: Vec<(String, Option<Vec<u8>>)>,
    ) -> BoxFuture<'static, Result<(), String>> {
        if *self.fails.lock() {
            return Box::pin(ready(Err("the disk is full".to_owned())));
        }
        let mut kept = self.rows.lock();
        for (name, row) in rows {
            match row {
                Some(row) => kept.insert(name, row),
                None => kept.remove(&name),
            };
        }
        Box::pin(ready(Ok(())))
    }
}

fn broker() -> Broker {
    let user = UserConfig {
        password: Some("configured".to_owned().into()),
        ..UserConfig::default()
    };
    Broker::new(Config {
        users: [("configured".to_owned(), user)].into(),
        ..Config::default()
    })
    .unwrap()
}

async fn login(broker: &Broker, user: &str, password: &str) -> Result<Arc<User>, Refused> {
    let credentials = Credentials {
        user: user.to_owned(),
        password: Bytes::copy_from_slice(password.as_bytes()),
    };
    let access = broker.shared.access.load_full();
    let peer = Ipv4Addr::LOCALHOST.into();
    access.auth.login(&credentials, peer).await
}

fn add(password: &str) -> UserEdit {
    UserEdit::Add {
        password: UserPassword::Plain(password.to_owned().into()),
        tags: Vec::new(),
        loopback_only: false,
    }
}

/// As RabbitMQ hashes "test12".
const SHA256: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

#[tokio::test]
async fn a_user_is_made_changed_and_removed_and_the_next_run_has_it() {
    let rows = Arc::new(Rows::default());
    let broker = broker();
    broker
        .restore_users([], Arc::new(Arc::clone(&rows)))
        .unwrap();
    assert_eq!(broker.edit_user("app", add("first")).await, Ok(true));
    let user = login(&broker, "app", "first").await.unwrap();
    assert!(user.grant("/").is_err(), "no permissions yet");
    let permit = UserEdit::Permit("/".to_owned(), Some(PermissionConfig::all()));
    assert_eq!(broker.edit_user("app", permit).await, Ok(false));
    let user = login(&broker, "app", "first").await.unwrap();
    let grant = user.grant("/").unwrap();
    assert!(grant.check(Access::Read, Resource::Queue, b"q").is_ok());
    let other = UserEdit::Password(UserPassword::Plain("second".to_owned().into()));
    broker.edit_user("app", other).await.unwrap();
    assert!(login(&broker, "app", "first").await.is_err());
    let row = rows.rows.lock()["app"].clone();
    let text = String::from_utf8(row).unwrap();
    assert!(
        text.contains("$argon2id$") && !text.contains("second"),
        "{text}"
    );

    let next = Broker::new(Config::default()).unwrap();
    let kept = rows.rows.lock().clone();
    let kept = kept.iter().map(|(name, row)| (name.as_bytes(), &**row));
    next.restore_users(kept, Arc::new(Arc::clone(&rows)))
        .unwrap();
    let user = login(&next, "app", "second").await.unwrap();
    assert!(user.grant("/").is_ok());
    assert_eq!(next.user("app").unwrap().source, "run_time");
    next.edit_user("app", UserEdit::Delete).await.unwrap();
    assert_eq!(
        login(&next, "app", "second").await.unwrap_err(),
        Refused::Wrong
    );
    assert!(rows.rows.lock().is_empty() && next.user("app").is_none());
    let row: (&[u8], &[u8]) = (b"app", b"no row");
    let refused = next.restore_users([row], Arc::new(rows)).unwrap_err();
    assert_eq!(refused, UnreadableUser("app".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_made_changes_nothing() {
    let rows = Arc::new(Rows::default());
    let broker = broker();
    broker
        .restore_users([], Arc::new(Arc::clone(&rows)))
        .unwrap();
    broker.edit_user("app", add("first")).await.unwrap();
    let hash = |hash: &str, algorithm: &str| {
        let algorithm = Some(algorithm.to_owned());
        UserEdit::Password(UserPassword::Hash(hash.to_owned().into(), algorithm))
    };
    let pattern = PermissionConfig {
        write: "(".to_owned(),
        ..PermissionConfig::default()
    };
    let cases = [
        ("configured", UserEdit::Delete, "broker.users"),
        ("guest", UserEdit::Delete, "broker.auth.guest"),
        ("app", add("x"), "exists"),
        ("new", add(""), "is empty"),
        ("none", UserEdit::Delete, "there is no user"),
        (
            "app",
            UserEdit::Permit("none".to_owned(), Some(PermissionConfig::all())),
            "there is no vhost \"none\"",
        ),
        (
            "app",
            UserEdit::Permit("/".to_owned(), Some(pattern)),
            "regex",
        ),
        ("app", hash("x", "argon2"), "not an argon2 hash"),
        ("app", hash(SHA256, "md5"), "'md5' is not known"),
    ];
    for (name, edit, expected) in cases {
        let refused = broker.edit_user(name, edit).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    *rows.fails.lock() = true;
    let refused = broker.edit_user("app", UserEdit::Delete).await;
    assert!(matches!(refused, Err(UserRefused::NotStored(_))));
    assert!(login(&broker, "app", "first").await.is_ok());
    *rows.fails.lock() = false;
    let rabbit = hash(SHA256, "rabbit_password_hashing_sha256");
    broker.edit_user("app", rabbit).await.unwrap();
    assert!(login(&broker, "app", "test12").await.is_ok());
    assert!(login(&broker, "app", "test13").await.is_err());
}

#[tokio::test]
async fn a_reload_keeps_users_of_the_run_time_and_its_own_win() {
    let broker = broker();
    for name in ["app", "both"] {
        broker.edit_user(name, add("first")).await.unwrap();
    }
    let mut config = broker.shared.config.clone();
    let both = UserConfig {
        password: Some("other".to_owned().into()),
        ..UserConfig::default()
    };
    config.users.insert("both".to_owned(), both);
    broker.reload(&config).unwrap();
    assert!(login(&broker, "app", "first").await.is_ok());
    assert!(login(&broker, "both", "first").await.is_err());
    assert!(login(&broker, "both", "other").await.is_ok());
    assert_eq!(broker.user("both").unwrap().source, "configuration");
    let names: Vec<_> = broker.users().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["app", "both", "configured", "guest"]);
}

#[tokio::test]
async fn there_are_at_most_as_many_as_the_limit_says() {
    let mut config = Config::default();
    config.auth.users_max = 1.into();
    let broker = Broker::new(config).unwrap();
    broker.edit_user("one", add("x")).await.unwrap();
    let refused = broker.edit_user("two", add("x")).await;
    assert_eq!(refused, Err(UserRefused::Full(1)));
    let tags = UserEdit::Tags(vec!["t".to_owned()]);
    assert_eq!(broker.edit_user("one", tags).await, Ok(false));
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one journey of users")]
async fn users_move_with_definitions_all_or_none() {
    let (one, other) = (broker(), broker());
    one.edit_user("app", add("first")).await.unwrap();
    let hash = UserPassword::Hash(
        SHA256.to_owned().into(),
        Some("rabbit_password_hashing_sha256".to_owned()),
    );
    one.edit_user(
        "rabbit",
        UserEdit::Put {
            password: Some(hash),
            tags: vec!["t".to_owned()],
        },
    )
    .await
    .unwrap();
    let permit = UserEdit::Permit("/".to_owned(), Some(PermissionConfig::all()));
    one.edit_user("rabbit", permit).await.unwrap();
    let topics = Some(crate::broker::auth::TopicPermissionConfig {
        write: "^a".to_owned(),
        read: ".*".to_owned(),
    });
    let topics = UserEdit::PermitTopics("/".to_owned(), "amq.topic".to_owned(), topics);
    one.edit_user("rabbit", topics).await.unwrap();
    let file = one.definitions_with_users().await.unwrap();
    let text = serde_json::to_string(&file).unwrap();
    assert!(
        !text.contains("first") && !text.contains("configured\""),
        "{text}"
    );
    let without = serde_json::to_string(&one.definitions(None).await.unwrap()).unwrap();
    assert!(!without.contains("argon2id"), "{without}");

    let report = other
        .import_with_users(text.clone().into(), None)
        .await
        .unwrap();
    assert_eq!(
        (report.made.users, report.ignored.len()),
        (2, 0),
        "{report:?}"
    );
    assert!(login(&other, "app", "first").await.is_ok());
    let user = login(&other, "rabbit", "test12").await.unwrap();
    let grant = user.grant("/").unwrap();
    assert!(
        grant
            .check_topic(Access::Write, b"amq.topic", b"abc")
            .is_ok()
    );
    assert!(
        grant
            .check_topic(Access::Write, b"amq.topic", b"b")
            .is_err()
    );
    let again = other
        .import_with_users(text.clone().into(), None)
        .await
        .unwrap();
    assert_eq!((again.made.users, again.present.users), (0, 2));
    let plain = broker();
    let report = plain.import(text.into(), None).await.unwrap();
    assert_eq!((report.made.users, report.ignored.len()), (0, 2));

    let file = json!({
        "users": [
            {"name": "guest", "password_hash": SHA256, "tags": "administrator"},
            {"name": "new", "password_hash": SHA256, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}
        ],
        "permissions": [{"user": "nobody", "vhost": "/", "configure": "", "write": "", "read": ""}]
    });
    let faults = plain
        .import_with_users(file.to_string().into(), None)
        .await
        .unwrap_err();
    assert_eq!(faults[0].field, "permissions[0].user");
    assert!(plain.user("new").is_none(), "all or none");
}
