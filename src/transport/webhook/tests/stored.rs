//! Webhooks of an earlier run.

use std::{
    collections::{BTreeMap, VecDeque},
    future::ready,
};

use futures_util::future::BoxFuture;

use super::*;
use crate::{
    registry::{Lost, UnreadableRow},
    transport::{RowChange, StoredRows, StoredTransport},
};

type TableRows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Rows in memory, which outlive a stage. The next commits fail as `failures` say.
#[derive(Debug, Default)]
pub(super) struct Kept {
    tables: Mutex<BTreeMap<&'static str, TableRows>>,
    failures: Mutex<VecDeque<Lost>>,
    commits: Mutex<usize>,
    /// The next commit panics.
    panics: Mutex<bool>,
}

impl TransportRows for Kept {
    fn commit(&self, changes: Vec<RowChange>) -> BoxFuture<'static, Result<(), Lost>> {
        let panics = std::mem::take(&mut *self.panics.lock());
        assert!(!panics, "a fault of the rows");
        if let Some(lost) = self.failures.lock().pop_front() {
            return Box::pin(ready(Err(lost)));
        }
        *self.commits.lock() += 1;
        let mut tables = self.tables.lock();
        for RowChange { table, key, value } in changes {
            let table = tables.entry(table).or_default();
            match value {
                Some(value) => table.insert(key, value),
                None => table.remove(&key),
            };
        }
        Box::pin(ready(Ok(())))
    }

    fn are_kept(&self) -> bool {
        true
    }
}

impl Kept {
    pub(super) fn stored(&self) -> StoredTransport {
        let rows_of = |table| {
            let tables = self.tables.lock();
            let rows = tables.get(table).into_iter().flatten();
            let rows = rows.map(|(key, value)| (key.clone().into(), value.clone().into()));
            Ok::<_, UnreadableRow>(rows.collect::<StoredRows>())
        };
        StoredTransport::read(rows_of).unwrap()
    }

    fn full(&self) {
        self.failures.lock().push_back(Lost::NoSpace);
    }

    fn is_empty(&self) -> bool {
        self.tables.lock().values().all(BTreeMap::is_empty)
    }
}

/// A run of the daemon with the webhooks that `kept` has.
fn run(registry: &Registry, config: Config, kept: &Arc<Kept>) -> Stage {
    let stage = stage_on(registry.clone(), config, Arc::clone(kept) as _);
    stage
        .webhooks
        .restore(&kept.stored(), &Identities::default());
    stage
}

pub(super) fn registry_of(log_entries_max: usize) -> Registry {
    Registry::new(registry::Config {
        log_entries_max: log_entries_max.into(),
        ..registry::Config::default()
    })
}

#[tokio::test]
async fn after_a_clean_stop_a_webhook_continues_with_the_next_event() {
    let (registry, kept) = (registry_of(1_000), Arc::default());
    let first = run(&registry, quick(), &kept);
    let mut receiver = Receiver::start().await;
    let draft = WatcherDraft {
        service_name: Some(ServiceName::parse("a").unwrap()),
        secret: Some("it's a secret".into()),
        canary: false,
        ..draft(&receiver.url())
    };
    let added = first.webhooks.add(draft, Start::Newest).await.unwrap();
    first.register("a", 0..20);
    expect_revisions(&mut receiver, 1..=20).await;
    first.stop().await.unwrap();

    first.register("a", 20..25);
    let second = run(&registry, quick(), &kept);
    let request = taken(&mut receiver).await;
    assert_eq!(request.json()["revision"], 21);
    assert!(request.header("x-musterd-signature").starts_with("sha256="));
    assert_eq!(request.header("x-musterd-watcher"), added.id);
    expect_revisions(&mut receiver, 22..=25).await;
    let info = second.until(&added.id, |info| info.lag == 0).await;
    let same = |info: &WatcherAnswer| {
        let of = (info.id.clone(), info.service_name.clone(), info.created_at);
        (of, info.signed, info.canary, info.callback_url.clone())
    };
    assert_eq!(same(&info), same(&added));
}

#[tokio::test]
async fn after_a_crash_a_webhook_gets_some_events_again_and_misses_none() {
    let (registry, kept) = (registry_of(1_000), Arc::default());
    let mut receiver = Receiver::start().await;
    let first = run(&registry, quick(), &kept);
    let id = first.watch(&receiver).await;
    let stop = CancellationToken::new();
    tokio_util::task::TaskTracker::new().spawn(first.webhooks.clone().run(stop));
    first.register("a", 0..10);
    expect_revisions(&mut receiver, 1..=10).await;
    let before = kept.tables.lock().clone();
    let stored = async {
        while *kept.tables.lock() == before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap();
    // Many deliveries, few commits.
    assert!(*kept.commits.lock() <= 4, "{}", kept.commits.lock());
    let after_ten = kept.tables.lock().clone();
    first.register("a", 10..12);
    expect_revisions(&mut receiver, 11..=12).await;
    first
        .webhooks
        .inner
        .delivery_tasks
        .stop(Duration::ZERO)
        .await;

    // What was delivered after the last cursor was stored comes again.
    *kept.tables.lock() = after_ten;
    first.register("a", 12..14);
    let second = run(&registry, quick(), &kept);
    expect_revisions(&mut receiver, 11..=14).await;
    second.until(&id, |info| info.lag == 0).await;
}

#[tokio::test]
async fn a_webhook_whose_events_are_gone_gets_a_snapshot() {
    let (registry, kept) = (registry_of(10), Arc::default());
    let first = run(&registry, quick(), &kept);
    let mut receiver = Receiver::start().await;
    first.watch(&receiver).await;
    first.stop().await.unwrap();
    first.register("a", 0..50);
    let second = run(&registry, quick(), &kept);
    assert_eq!(taken(&mut receiver).await.json()["event"], "resync");
    second.register("a", 50..51);
    expect_revisions(&mut receiver, 51..=51).await;

    // One that needs a snapshot still needs it after a restart.
    receiver.behave(Manner::Answer(503));
    second.register("a", 51..100);
    next(&mut receiver.requests).await;
    second.stop().await.unwrap();
    receiver.behave(Manner::Answer(204));
    let _third = run(&registry, quick(), &kept);
    assert_eq!(taken(&mut receiver).await.json()["event"], "resync");
}

#[tokio::test]
async fn a_removed_webhook_does_not_come_back() {
    let (registry, kept) = (registry_of(1_000), Arc::default());
    let first = run(&registry, quick(), &kept);
    let mut receiver = Receiver::start().await;
    let removed = first.watch(&receiver).await;
    first.watch(&receiver).await;
    assert!(first.webhooks.remove(&removed).await.unwrap());
    assert_eq!(kept.stored().webhooks(), 1);
    receiver.behave(Manner::Answer(410));
    first.register("a", 0..1);
    next(&mut receiver.requests).await;
    let gone = async {
        while !kept.is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert!(first.webhooks.list().is_empty());
}

#[tokio::test]
async fn on_a_full_disk_webhooks_are_neither_added_nor_removed() {
    let (registry, kept) = (registry_of(1_000), Arc::<Kept>::default());
    let stage = run(&registry, quick(), &kept);
    let mut receiver = Receiver::start().await;
    kept.full();
    let refused = stage.webhooks.add(draft(&receiver.url()), Start::Newest);
    assert!(matches!(
        refused.await,
        Err(TransportError::NotTaken(Refusal::NoSpace))
    ));
    assert!(stage.webhooks.list().is_empty());
    let id = stage.watch(&receiver).await;
    kept.full();
    let refused = stage.webhooks.remove(&id).await;
    assert!(matches!(
        refused,
        Err(TransportError::NotTaken(Refusal::NoSpace))
    ));
    stage.register("a", 0..3);
    expect_revisions(&mut receiver, 1..=3).await;
    assert!(stage.webhooks.remove(&id).await.unwrap());
    assert!(kept.is_empty());
}

#[tokio::test]
async fn webhooks_of_an_earlier_run_stay_beyond_a_lower_limit() {
    let (registry, kept) = (registry_of(1_000), Arc::default());
    let first = run(&registry, quick(), &kept);
    let mut receivers = [Receiver::start().await, Receiver::start().await];
    for receiver in &receivers {
        first.watch(receiver).await;
    }
    first.stop().await.unwrap();
    let config = Config {
        webhooks_max: 1.into(),
        ..quick()
    };
    let second = run(&registry, config, &kept);
    second.register("a", 0..3);
    for receiver in &mut receivers {
        expect_revisions(receiver, 1..=3).await;
    }
    let more = second
        .webhooks
        .add(draft("http://127.0.0.1/"), Start::Newest);
    assert!(matches!(more.await, Err(TransportError::Full { .. })));
}

#[tokio::test]
async fn a_webhook_that_ends_is_not_listed_although_removing_its_rows_panics() {
    let (registry, kept) = (registry_of(1_000), Arc::<Kept>::default());
    let stage = run(&registry, quick(), &kept);
    let mut receiver = Receiver::start().await;
    stage.watch(&receiver).await;
    receiver.behave(Manner::Answer(410));
    *kept.panics.lock() = true;
    stage.register("a", 0..1);
    next(&mut receiver.requests).await;
    let gone = async {
        while !stage.webhooks.list().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(kept.stored().webhooks(), 1, "it is asked after a restart");
}
