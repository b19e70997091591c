use super::{Access, Grant, Permissions, Resource};
use crate::broker::auth::config::PermissionConfig;

fn permissions(pattern: &str) -> Permissions {
    Permissions::new(&PermissionConfig {
        configure: pattern.to_owned(),
        write: "^never$".to_owned(),
        read: ".*".to_owned(),
    })
    .expect("patterns")
}

#[track_caller]
fn check(pattern: &str, name: &[u8], allowed: bool) {
    let answer = permissions(pattern).allow(Access::Configure, Resource::Queue, name);
    assert_eq!(answer, allowed, "{pattern} {}", name.escape_ascii());
}

#[test]
fn a_pattern_is_found_anywhere_unless_it_is_anchored() {
    check("orders", b"my-orders-2", true);
    check("^orders", b"my-orders-2", false);
    check("^orders", b"orders-2", true);
    check("^(orders|amq\\.gen).*", b"amq.gen-x", true);
    check(".*", b"", true);
    check(".*", b"\xff\n", true);
    check("", b"", true);
    check("", b"x", false);
    check("^$", b"x", false);
}

#[test]
fn each_access_has_its_own_pattern() {
    let permissions = permissions("^a$");
    let allow = |access, name| permissions.allow(access, Resource::Queue, name);
    assert!(allow(Access::Configure, b"a"));
    assert!(!allow(Access::Write, b"a"));
    assert!(allow(Access::Write, b"never"));
    assert!(allow(Access::Read, b"b"));
}

#[test]
fn the_default_exchange_has_a_name_here() {
    let permissions = permissions("^amq\\.default$");
    assert!(permissions.allow(Access::Configure, Resource::Exchange, b""));
    assert!(!permissions.allow(Access::Configure, Resource::Queue, b""));
}

#[test]
fn a_refusal_reads_as_rabbitmq_writes_it() {
    let grant = Grant::new("u".into(), "/", permissions(""), false);
    let refused = |resource, name| {
        let denied = grant
            .check(Access::Configure, resource, name)
            .expect_err("refused");
        denied.to_string()
    };
    assert_eq!(
        refused(Resource::Queue, b"q"),
        "access to queue 'q' in vhost '/' refused for user 'u'"
    );
    assert_eq!(
        refused(Resource::Exchange, b""),
        "access to exchange 'amq.default' in vhost '/' refused for user 'u'"
    );
    assert!(grant.check(Access::Read, Resource::Queue, b"q").is_ok());
}

#[test]
fn only_an_impersonator_publishes_as_another() {
    let may = |impersonates| {
        let grant = Grant::new("u".into(), "/", Permissions::ALL, impersonates);
        (grant.may_publish_as(b"u"), grant.may_publish_as(b"bob"))
    };
    assert_eq!(may(false), (true, false));
    assert_eq!(may(true), (true, true));
}

#[test]
fn a_broken_pattern_names_its_key() {
    let config = PermissionConfig {
        write: "(".to_owned(),
        ..PermissionConfig::all()
    };
    let error = Permissions::new(&config).expect_err("not a pattern");
    assert_eq!(error.key, "write");
}
