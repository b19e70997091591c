//! Webhooks of identities: they get what their owner may read, for as long as there is that identity.

use super::*;
use crate::security::{NamePattern, PolicyRule, Protected, Right, RuleSet};

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
