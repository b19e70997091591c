use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    catalog::{Door, Identity},
    kv::{NoKvRows, StoredKv},
    registry::{Config, Notices, Registry},
    security::{NamePattern, PolicyRule, RuleSet},
};

const LIMITS: KvLimits = KvLimits {
    value_max: 1000,
    keys_max: 1000,
    bytes_max: 100_000,
    sessions_max: 100,
};

/// A caller with rules such as `app/* write, app/x deny`.
fn caller(name: &str, rules: &str) -> Caller {
    let rules = rules
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty());
    let rules = rules.map(|rule| {
        let (pattern, right) = rule.split_once(' ').unwrap();
        PolicyRule {
            resource: Protected::Kv,
            pattern: NamePattern::parse(pattern),
            right: match right {
                "read" => Some(Right::Read),
                "write" => Some(Right::Write),
                "write_any" => Some(Right::WriteAny),
                _ => None,
            },
        }
    });
    Caller {
        identity: Identity::Of(Principal::with(name, RuleSet::new(rules))),
        ..Caller::by(Door::Rest)
    }
}

async fn beside<T, F: Future<Output = T>>(work: impl FnOnce(KvCatalog) -> F) -> T {
    let registry = Registry::new(Config::default());
    let clock = registry.clock().clone();
    let (notices, stored) = (Arc::new(Notices::new(8)), StoredKv::default());
    let (kv, writer) = KvStore::open(LIMITS, stored, Arc::new(NoKvRows), clock, notices);
    let stop = CancellationToken::new();
    let ending = stop.clone();
    let work = work(KvCatalog::new(Catalog::new(registry), kv));
    let work = async move {
        let done = work.await;
        ending.cancel();
        done
    };
    tokio::join!(writer.run(stop), work).1
}

fn operation(key: &str, verb: KvVerb) -> KvOperation {
    KvOperation {
        key: key.into(),
        verb,
    }
}

fn verbs() -> Vec<KvVerb> {
    let (value, id) = (Bytes::from_static(b"v"), Uuid::from_u128(1));
    vec![
        KvVerb::Set(value.clone(), 0),
        KvVerb::Cas(value.clone(), 0, 0),
        KvVerb::Lock(value.clone(), 0, id),
        KvVerb::Unlock(value, 0, id),
        KvVerb::Delete,
        KvVerb::DeleteCas(0),
        KvVerb::DeleteTree,
        KvVerb::Get,
        KvVerb::GetOrEmpty,
        KvVerb::GetTree,
        KvVerb::CheckIndex(0),
        KvVerb::CheckSession(None),
        KvVerb::CheckNotExists,
    ]
}

#[tokio::test(start_paused = true)]
async fn every_operation_is_judged_by_its_key() {
    beside(async |kv| {
        // What each identity may do with the key `app/a`: nothing, read, write.
        for (rules, may_read, may_write, may_delete_tree) in [
            ("", false, false, false),
            ("app/* read", true, false, false),
            ("app/* write", true, true, true),
            ("app/a write", true, true, false),
            ("other/* write", false, false, false),
            ("* write, app/* deny", false, false, false),
            ("* write, app/a/secret deny", true, true, false),
            ("* write_any", true, true, true),
        ] {
            let caller = caller("web", rules);
            for verb in verbs() {
                let expected = match &verb {
                    KvVerb::GetTree => true,
                    KvVerb::DeleteTree => may_delete_tree,
                    verb if verb.writes() => may_write,
                    _ => may_read,
                };
                let shown = format!("{rules:?} {verb:?}");
                let answer = kv.transact(&caller, vec![operation("app/a", verb)]).await;
                let forbidden = answer.unwrap().err().is_some_and(|faults| {
                    let TransactionFault::Refused(refusal) = &faults[0].1 else {
                        return false;
                    };
                    refusal.status() == 403 && refusal.to_string().contains("app/a")
                });
                assert_eq!(!forbidden, expected, "{shown}");
            }
            let read = kv.get(&caller, &"app/a".into());
            assert_eq!(read.is_ok(), may_read, "{rules}");
        }
        let daemon = Caller::daemon(Door::Rest);
        for verb in verbs() {
            let answer = kv.transact(&daemon, vec![operation("app/a", verb)]).await;
            let faults = answer.unwrap().err().unwrap_or_default();
            let forbidden = faults
                .iter()
                .any(|(_, fault)| fault.to_string().contains("denied"));
            assert!(!forbidden, "{faults:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_read_is_filtered() {
    beside(async |kv| {
        let daemon = Caller::daemon(Door::Rest);
        let set = |key| operation(key, KvVerb::Set(Bytes::from_static(b"v"), 0));
        let all = ["app/a", "app/secret", "db/a"].map(set).to_vec();
        kv.transact(&daemon, all).await.unwrap().unwrap();
        let web = caller("web", "app/* write, app/secret deny");
        let keys: Vec<_> = kv
            .list(&web, "")
            .found
            .iter()
            .map(|one| one.key.clone())
            .collect();
        assert_eq!(keys, ["app/a".into()]);
        assert_eq!(kv.key_names(&web, "", "/").found, ["app/".into()]);
        assert_eq!(kv.list(&daemon, "").found.len(), 3);
        let tree = operation("", KvVerb::GetTree);
        let found = kv.transact(&web, vec![tree]).await.unwrap().unwrap();
        assert_eq!(found.len(), 1);
        // One operation that is not allowed: nothing is done.
        let mixed = vec![set("app/b"), set("db/b")];
        let faults = kv.transact(&web, mixed).await.unwrap().unwrap_err();
        assert_eq!((faults.len(), faults[0].0), (1, 1));
        assert_eq!(kv.get(&daemon, &"app/b".into()).unwrap().found, None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sessions_belong_to_their_identity() {
    beside(async |kv| {
        let (web, db) = (caller("web", "app/* write"), caller("db", "* write"));
        let (admin, reader) = (caller("admin", "* write_any"), caller("r", "app/* read"));
        let nobody = caller("n", "");
        let draft = SessionDraft::default;
        assert!(kv.create_session(&reader, draft()).await.is_err());
        let id = kv.create_session(&web, draft()).await.unwrap();
        for other in [&db, &reader, &nobody] {
            assert_eq!(kv.end_session(other, id).await.unwrap_err().status(), 403);
            assert_eq!(kv.renew_session(other, id).await.unwrap_err().status(), 403);
        }
        assert!(kv.session(&reader, id).unwrap().found.is_some());
        assert!(kv.session(&nobody, id).is_err() && kv.sessions(&nobody, None).is_err());
        assert!(kv.renew_session(&web, id).await.unwrap().is_some());
        assert!(kv.end_session(&admin, id).await.unwrap().is_some());
        let id = kv.create_session(&web, draft()).await.unwrap();
        assert!(kv.end_session(&web, id).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn user_events_are_judged_by_their_name() {
    beside(async |kv| {
        let event = |name: &str| UserEventDraft {
            name: name.into(),
            ..UserEventDraft::default()
        };
        let writer = caller("w", "user.event.deploy write");
        let fire = |caller, name| kv.fire(caller, event(name), |_| Bytes::new());
        assert!(fire(&writer, "deploy").is_ok());
        assert_eq!(fire(&writer, "other").unwrap_err().status(), 403);
        let daemon = Caller::daemon(Door::Rest);
        assert!(fire(&daemon, "other").is_ok());
        assert_eq!(kv.user_events(&writer, None).len(), 1);
        assert_eq!(kv.user_events(&daemon, None).len(), 2);
        assert_eq!(kv.user_events(&daemon, Some("other")).len(), 1);
        assert!(kv.user_events(&caller("n", "app/* write"), None).is_empty());
    })
    .await;
}
