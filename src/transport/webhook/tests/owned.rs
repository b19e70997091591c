//! Webhooks of identities: they get what their owner may read, for as long as there is that identity.

use super::{
    stored::{Kept, registry_of},
    *,
};
use crate::{
    model::Timestamp,
    security::{
        self, NamePattern, NoTokenRows, PolicyRule, Protected, Right, RuleSet, TokenDigest,
        TokenRecord,
    },
};

/// An identity that may read the services `web-*`.
fn reader_of_web() -> Principal {
    let rule = PolicyRule {
        resource: Protected::Service,
        pattern: NamePattern::parse("web-*"),
        right: Some(Right::Read),
    };
    Principal::with("ann", RuleSet::new([rule]))
}

#[tokio::test]
async fn events_that_the_owner_may_not_read_are_passed_over() {
    let stage = stage();
    let mut receiver = Receiver::start().await;
    let owner = reader_of_web();
    let draft = draft(&receiver.url());
    let added = stage.webhooks.add_for(Some(&owner), draft, Start::Newest);
    let added = added.await.unwrap();
    assert_eq!(added.owner.as_deref(), Some("ann"));
    let notice = "{\"event\":\"migration.phase\",\"revision\":null}";
    stage.notices.push("migration.phase", notice.into());
    stage.register("pay", 0..3);
    stage.register("web-a", 0..1);
    let first = taken(&mut receiver).await.json();
    assert_eq!(
        first["service_name"], "web-a",
        "neither a notice nor \"pay\""
    );
    stage.register("pay", 3..4);
    let newest = stage.registry.newest();
    let passed = stage.until(&added.id, |info| info.answer.cursor.revision == newest);
    assert_eq!(passed.await.record.delivered, 1, "the cursor moves on");
}

#[tokio::test]
async fn a_snapshot_has_what_the_owner_may_read() {
    let stage = stage();
    stage.register("pay", 0..1);
    stage.register("web-a", 0..1);
    let mut receiver = Receiver::start().await;
    let (owner, draft) = (reader_of_web(), draft(&receiver.url()));
    let added = stage.webhooks.add_for(Some(&owner), draft, Start::Snapshot);
    added.await.unwrap();
    let resync = taken(&mut receiver).await.json().to_string();
    assert!(
        resync.contains("web-a") && !resync.contains("pay"),
        "{resync}"
    );
}

#[tokio::test]
async fn an_identity_that_is_gone_gets_nothing() {
    let stage = stage();
    let (mut receiver, mut of_all) = (Receiver::start().await, Receiver::start().await);
    let nobody = Principal::nobody("gone");
    let draft = draft(&receiver.url());
    let added = stage.webhooks.add_for(Some(&nobody), draft, Start::Newest);
    let added = added.await.unwrap();
    stage.watch(&of_all).await;
    stage.register("web-a", 0..1);
    taken(&mut of_all).await;
    let newest = stage.registry.newest();
    let passed = stage.until(&added.id, |info| info.answer.cursor.revision == newest);
    assert_eq!(passed.await.record.delivered, 0);
    assert!(receiver.requests.try_recv().is_err());
}

/// One token of this name, made at run time, that may read the services `web-*`.
fn identities_with_ann(made: Timestamp) -> Identities {
    let rule = r#"{"resource":"service","pattern":"web-*","access":"read"}"#;
    let rule = serde_json::from_str(rule).unwrap();
    let config = security::Config {
        policies: [("web".to_owned(), vec![rule])].into(),
        ..security::Config::default()
    };
    let record = TokenRecord {
        name: "ann".into(),
        policies: Box::new(["web".into()]),
        created: made,
        expires: None,
        used: None,
        secrets: vec![(TokenDigest::of("the-secret-of-ann"), None)],
    };
    let loaded = Identities::load(&config, None, vec![record], Arc::new(NoTokenRows), made);
    loaded.unwrap().0
}

#[tokio::test]
async fn after_a_restart_another_token_of_the_same_name_does_not_revive_a_webhook() {
    let (registry, kept) = (registry_of(1_000), Arc::<Kept>::default());
    let mut receiver = Receiver::start().await;
    let begin = || stage_on(registry.clone(), quick(), Arc::clone(&kept) as _);
    let first = begin();
    let made = Timestamp(1_700_000_000_000);
    let anywhere = std::net::Ipv4Addr::LOCALHOST.into();
    let ann = identities_with_ann(made).recognise("the-secret-of-ann", anywhere, made);
    let draft = draft(&receiver.url());
    let ann = ann.unwrap();
    let added = first.webhooks.add_for(Some(&ann), draft, Start::Newest);
    let added = added.await.unwrap();
    first.register("web-a", 0..1);
    taken(&mut receiver).await;
    first.stop().await.unwrap();

    let second = begin();
    second.register("web-a", 1..2);
    let other = identities_with_ann(Timestamp(made.0 + 1));
    second.webhooks.restore(&kept.stored(), &other);
    let newest = registry.newest();
    let passed = second.until(&added.id, |info| info.answer.cursor.revision == newest);
    assert_eq!(passed.await.record.delivered, 0);
    second.stop().await.unwrap();
    assert!(receiver.requests.try_recv().is_err());

    let third = begin();
    let same = identities_with_ann(made);
    third.webhooks.restore(&kept.stored(), &same);
    third.register("web-a", 2..3);
    let newest = registry.newest();
    assert_eq!(taken(&mut receiver).await.json()["revision"], newest.0);
}
