//! Commits that take microseconds, made by the threads that ask for them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{journal::TestJournal, registration};
use crate::registry::{
    Batch, Commit, Config, Journal, Origins, Record, Refusal, Register, Registry,
};

/// Keeps what it is given. Every third commit is made by the thread for it.
#[derive(Clone, Debug, Default)]
struct BriefJournal {
    kept: TestJournal,
    /// How many commits are being made.
    under_way: Arc<AtomicU64>,
    /// The next one panics.
    panics: Arc<AtomicBool>,
}

impl Journal for BriefJournal {
    fn commit(&mut self, batch: Batch<'_>) -> Commit {
        let Commit::Done(done) = self.kept.commit(batch) else {
            unreachable!("it answers at once");
        };
        let (under_way, panics) = (Arc::clone(&self.under_way), Arc::clone(&self.panics));
        let commit = move || {
            assert_eq!(under_way.fetch_add(1, SeqCst), 0, "one after the other");
            std::thread::yield_now();
            assert_eq!(under_way.fetch_sub(1, SeqCst), 1);
            assert!(!panics.swap(false, SeqCst), "as the test wants");
            done
        };
        match batch.number.is_multiple_of(3) {
            true => Commit::Later(Box::pin(async move { commit() })),
            false => Commit::Brief(Box::new(commit)),
        }
    }
}

fn open(journal: &BriefJournal) -> Registry {
    let origins = Origins {
        journal: Box::new(journal.clone()),
        ..Origins::default()
    };
    Registry::open(Config::default(), origins)
}

fn one(id: &str, port: u16) -> Register {
    Register {
        registration: registration(id, "web", port),
        incarnation: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_are_answered_and_the_commits_come_one_after_the_other() {
    let journal = BriefJournal::default();
    let registry = open(&journal);
    let stop = CancellationToken::new();
    let mut commits = JoinSet::new();
    commits.spawn(registry.clone().run_commits(stop.clone()));
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let registry = registry.clone();
        clients.spawn(async move {
            for port in 1..=200 {
                let answer = registry.submit(one(&format!("i{client}"), port), None);
                answer.await.expect("it is registered");
            }
        });
    }
    clients.join_all().await;
    stop.cancel();
    commits.join_all().await;
    // Each registration is one record, in the order of their revisions.
    let records = journal.kept.records();
    let revisions = records.iter().filter_map(|record| match record {
        Record::Event(event) => Some(event.revision.0),
        _ => None,
    });
    assert!(revisions.eq(1..=registry.newest().0));
    assert_eq!(registry.counts().instances, 8);
    let late = registry.submit(one("late", 1), None).await;
    assert!(matches!(late, Err(Refusal::Stopping)));
}

#[tokio::test]
async fn a_commit_that_panics_keeps_nobody_waiting() {
    let journal = BriefJournal::default();
    let registry = open(&journal);
    journal.panics.store(true, SeqCst);
    let submitted = catch_unwind(AssertUnwindSafe(|| registry.submit(one("a", 1), None)));
    assert!(submitted.is_err());
    let next = registry.submit(one("b", 1), None).now_or_never();
    assert!(matches!(next, Some(Ok(_))), "{next:?}");
}
