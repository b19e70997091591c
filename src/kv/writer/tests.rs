use std::{collections::BTreeMap, future::Future, pin::pin};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::{advance, sleep};
use uuid::Uuid;

use super::*;
use crate::{
    kv::{
        KvLimits, KvOperation, KvRow, KvTopic, SessionBehavior, SessionDraft, StoredKv,
        TransactionFault,
    },
    registry::{Clock, Lost, Notices, UnreadableRow},
};

const LIMITS: KvLimits = KvLimits {
    value_max: 1000,
    keys_max: 1000,
    bytes_max: 100_000,
    sessions_max: 100,
};

/// Rows in memory, which can be full.
#[derive(Clone, Debug, Default)]
struct Rows {
    tables: Arc<Mutex<BTreeMap<(&'static str, Bytes), Bytes>>>,
    is_full: Arc<Mutex<bool>>,
}

impl Rows {
    fn stored(&self) -> StoredKv {
        let tables = self.tables.lock();
        let rows_of = |wanted: &'static str| {
            let rows = tables.iter().filter(|((table, _), _)| *table == wanted);
            let rows = rows.map(|((_, key), row)| (key.clone(), row.clone()));
            Ok::<_, UnreadableRow>(rows.collect())
        };
        StoredKv::read(rows_of).unwrap()
    }
}

impl KvRows for Rows {
    fn commit(&self, rows: Vec<KvRow>) -> BoxFuture<'static, Result<(), Lost>> {
        if *self.is_full.lock() {
            return Box::pin(std::future::ready(Err(Lost::NoSpace)));
        }
        let mut tables = self.tables.lock();
        for row in rows {
            match row.value {
                Some((head, rest)) => {
                    tables.insert((row.table, row.key), [&head, &rest[..]].concat().into())
                }
                None => tables.remove(&(row.table, row.key)),
            };
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

fn open(rows: &Rows) -> (KvStore, KvWriter) {
    let notices = Arc::new(Notices::new(8));
    let rows = rows.clone();
    KvStore::open(
        LIMITS,
        rows.stored(),
        Arc::new(rows),
        Clock::start(),
        notices,
    )
}

/// Runs `work` beside a writer, which then stops.
async fn beside<T, F: Future<Output = T>>(rows: &Rows, work: impl FnOnce(KvStore) -> F) -> T {
    let (store, writer) = open(rows);
    let stop = CancellationToken::new();
    let ending = stop.clone();
    let work = work(store);
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

async fn set(store: &KvStore, key: &str, value: &'static str) {
    let value = Bytes::from_static(value.as_bytes());
    let done = store.transact(vec![operation(key, KvVerb::Set(value, 0))]);
    done.await.unwrap().unwrap();
}

async fn lock(store: &KvStore, key: &str, id: Uuid) -> Result<(), TransactionFault> {
    let lock = KvVerb::Lock(Bytes::from_static(b"l"), 0, id);
    let done = store.transact(vec![operation(key, lock)]).await.unwrap();
    done.map(drop).map_err(|mut faults| faults.remove(0).1)
}

fn session(ttl_s: u64) -> SessionDraft {
    SessionDraft {
        node: "n".into(),
        lock_delay: Duration::from_secs(15),
        ttl: (ttl_s > 0).then(|| Duration::from_secs(ttl_s)),
        behavior: SessionBehavior::Release,
        ..SessionDraft::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nobody_renews_it() {
    beside(&Rows::default(), async |store| {
        let id = store.create_session(session(10)).await.unwrap();
        let lasting = store.create_session(session(0)).await.unwrap();
        lock(&store, "k", id).await.unwrap();
        lock(&store, "m", lasting).await.unwrap();
        sleep(Duration::from_secs(9)).await;
        let renewed = store.renew_session(id, SessionOwner::Any).await.unwrap();
        assert_eq!(renewed.unwrap().id, id);
        sleep(Duration::from_millis(9_900)).await;
        assert!(store.state().session(id).found.is_some());
        let mut following = store.follow(KvTopic::Key("k".into()));
        following.changed().await;
        assert!(store.state().session(id).found.is_none());
        let entry = store.state().get(&"k".into()).found.unwrap();
        assert_eq!(entry.session, None);
        let gone = store.renew_session(id, SessionOwner::Any).await.unwrap();
        assert_eq!(gone, None);
        // The key of the session that ended cannot be locked for 15 s.
        assert!(lock(&store, "k", lasting).await.is_err());
        sleep(Duration::from_secs(15)).await;
        lock(&store, "k", lasting).await.unwrap();
        sleep(Duration::from_secs(100_000)).await;
        assert!(store.state().session(lasting).found.is_some());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_run_continues_where_the_last_one_ended() {
    let rows = Rows::default();
    let id = beside(&rows, async |store| {
        let id = store.create_session(session(10)).await.unwrap();
        let ended = store.create_session(session(0)).await.unwrap();
        set(&store, "a", "1").await;
        set(&store, "b", "2").await;
        lock(&store, "k", id).await.unwrap();
        lock(&store, "l", ended).await.unwrap();
        store.end_session(ended, SessionOwner::Any).await.unwrap();
        let delete = operation("b", KvVerb::Delete);
        store.transact(vec![delete]).await.unwrap().unwrap();
        id
    })
    .await;
    advance(Duration::from_secs(5)).await;
    beside(&rows, async |store| {
        let state = store.state();
        let keys = state.key_names("", "", |_| true).found;
        assert_eq!(keys, ["a".into(), "k".into(), "l".into()]);
        assert_eq!(state.get(&"k".into()).found.unwrap().session, Some(id));
        let before = state.index();
        set(&store, "c", "3").await;
        assert_eq!(store.state().get(&"c".into()).index, before + 1);
        // It has its whole time again, and then ends.
        sleep(Duration::from_millis(9_900)).await;
        assert!(store.state().session(id).found.is_some());
        sleep(Duration::from_millis(200)).await;
        assert!(store.state().session(id).found.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_changes_and_keeps_what_is_there() {
    let rows = Rows::default();
    beside(&rows, async |store| {
        let id = store.create_session(session(10)).await.unwrap();
        set(&store, "a", "1").await;
        *rows.is_full.lock() = true;
        let value = Bytes::from_static(b"2");
        let put = store.transact(vec![operation("a", KvVerb::Set(value, 0))]);
        let refused = put.await.unwrap_err();
        assert_eq!((refused.status(), refused), (507, KvRefusal::NoSpace));
        assert_eq!(store.state().get(&"a".into()).found.unwrap().value, "1");
        // Reads are answered.
        let get = store.transact(vec![operation("a", KvVerb::Get)]).await;
        assert_eq!(get.unwrap().unwrap().len(), 1);
        sleep(Duration::from_secs(30)).await;
        assert!(store.state().session(id).found.is_some());
        *rows.is_full.lock() = false;
        sleep(Duration::from_secs(2)).await;
        assert!(store.state().session(id).found.is_none());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_only_its_readers() {
    beside(&Rows::default(), async |store| {
        let topics = [
            KvTopic::Key("a/1".into()),
            KvTopic::Key("a".into()),
            KvTopic::Prefix("a/".into()),
            KvTopic::Prefix("".into()),
            KvTopic::Prefix("b".into()),
            KvTopic::Sessions,
            KvTopic::Node("n".into()),
            KvTopic::Session(Uuid::from_u128(1)),
        ];
        // Many others, so that both ways to find the readers are taken.
        for others in [0, 50] {
            let mut quiet: Vec<_> = (0..others)
                .map(|number| store.follow(KvTopic::Prefix(format!("q/{number}").into())))
                .collect();
            let mut following = topics.clone().map(|topic| store.follow(topic));
            let woken = |following: &mut [crate::kv::KvFollowing]| {
                let woken = following.iter_mut().map(|one| {
                    let changed = pin!(one.changed());
                    changed.now_or_never().is_some()
                });
                woken.collect::<Vec<_>>()
            };
            set(&store, "a/1", if others == 0 { "x" } else { "y" }).await;
            // The writer wakes after it has answered.
            tokio::task::yield_now().await;
            let expected = [true, false, true, true, false, false, false, false];
            assert_eq!(woken(&mut following), expected);
            store.create_session(session(0)).await.unwrap();
            tokio::task::yield_now().await;
            let expected = [false, false, false, false, false, true, true, false];
            assert_eq!(woken(&mut following), expected);
            assert!(woken(&mut quiet).iter().all(|woken| !woken));
        }
        assert_eq!(
            store.inner.waits.topics(),
            0,
            "dropped readers are forgotten"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_the_stop_requests_are_refused() {
    let (store, writer) = open(&Rows::default());
    let stop = CancellationToken::new();
    let waiting = store.create_session(session(0));
    let mut waiting = pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    stop.cancel();
    writer.run(stop).await;
    assert!(waiting.await.is_ok(), "what waited is answered");
    let refused = store.create_session(session(0)).await;
    assert_eq!(refused, Err(KvRefusal::Stopping));
}
