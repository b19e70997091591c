use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{FIRST_NUMBER, RESERVED, TopologyJournal};
use crate::broker::durable::{TopologyTable, testing::MemoryTopology};

fn open(store: &Arc<MemoryTopology>) -> TopologyJournal {
    TopologyJournal::open(Arc::clone(store) as _).unwrap()
}

#[test]
fn changes_are_committed_together_and_numbers_are_never_used_again() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    let first = journal.put(TopologyTable::Queues, vec![1]);
    assert_eq!(first, FIRST_NUMBER);
    let second = journal.put(TopologyTable::Queues, vec![2]);
    journal.delete(TopologyTable::Queues, first);
    assert_eq!(journal.appended(), 3);
    assert!(!journal.has_committed(1));
    let commits = store.commits.load(SeqCst);
    let calls = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| _ = calls.fetch_add(1, SeqCst)));
        assert!(journal.wait_until_committed());
        journal.close();
    });
    assert_eq!(store.commits.load(SeqCst), commits + 1, "one for all");
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(store.count(TopologyTable::Queues), 1);
    assert!(journal.has_committed(3));
    assert!(second < open(&store).put(TopologyTable::Queues, vec![3]));
    assert_eq!(
        open(&store).put(TopologyTable::Queues, vec![3]),
        FIRST_NUMBER + 2 * RESERVED
    );
}

#[test]
fn a_journal_opens_on_a_full_disk_with_numbers_that_no_other_run_has() {
    let store = Arc::<MemoryTopology>::default();
    let before = open(&store).put(TopologyTable::Queues, vec![1]);
    store.is_full.store(true, SeqCst);
    let first = open(&store).put(TopologyTable::Queues, vec![1]);
    thread::sleep(Duration::from_millis(1));
    let journal = open(&store);
    assert!(journal.sync(), "nothing was changed: nothing waits");
    let second = journal.put(TopologyTable::Queues, vec![2]);
    assert!(
        before < first && first < second,
        "{before} {first} {second}"
    );
    store.is_full.store(false, SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| ()));
        assert!(journal.wait_until_committed());
        journal.close();
    });
    assert_eq!(store.count(TopologyTable::Queues), 1);
    let next = open(&store).put(TopologyTable::Queues, vec![3]);
    assert_eq!(next, second + RESERVED, "the numbers are stored too");
}

#[test]
fn a_full_disk_delays_changes_until_there_is_space() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    store.is_full.store(true, SeqCst);
    journal.put(TopologyTable::Exchanges, vec![1]);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| ()));
        thread::sleep(Duration::from_millis(50));
        assert!(!journal.has_committed(1));
        store.is_full.store(false, SeqCst);
        assert!(journal.wait_until_committed());
        journal.close();
    });
    assert_eq!(store.count(TopologyTable::Exchanges), 1);
}

#[test]
fn a_sync_does_not_wait_for_space() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    store.is_full.store(true, SeqCst);
    journal.put(TopologyTable::Exchanges, vec![1]);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| ()));
        let (tx, answers) = mpsc::channel();
        let waiting = &journal;
        scope.spawn(move || tx.send(waiting.sync()));
        let answer = answers.recv_timeout(Duration::from_secs(10));
        store.is_full.store(false, SeqCst);
        assert!(journal.wait_until_committed() && journal.sync_committed());
        journal.close();
        assert_eq!(answer, Ok(false));
    });
}

#[test]
fn what_is_synced_already_is_not_synced_again() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    assert!(journal.sync());
    assert_eq!(store.syncs.load(SeqCst), 0, "nothing was changed");
    journal.put(TopologyTable::Exchanges, vec![1]);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| ()));
        assert!(journal.sync() && journal.sync());
        assert_eq!(store.syncs.load(SeqCst), 1);
        journal.close();
    });
}

#[test]
fn a_wait_for_a_closed_journal_is_answered() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    journal.close();
    journal.run(|| ());
    journal.put(TopologyTable::Exchanges, vec![1]);
    assert!(!journal.wait_until_committed() && !journal.sync());
}

#[test]
fn notes_of_deleted_queues_are_kept_while_they_are_held() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    for _ in 0..2 {
        journal.hold_notes();
    }
    journal.note_deleted(1);
    journal.forget_deleted(1, 10);
    journal.on_durable(10);
    assert_eq!(journal.appended(), 1, "only the note");
    journal.release_notes();
    journal.on_durable(11);
    assert_eq!(journal.appended(), 1, "another log still needs it");
    journal.note_deleted(2);
    journal.forget_deleted(2, 12);
    journal.release_notes();
    assert_eq!(journal.appended(), 3, "the first is forgotten");
    journal.on_durable(12);
    assert_eq!(journal.appended(), 4);
}

#[test]
fn a_wait_for_a_commit_ends_in_time_on_a_full_disk() {
    let store = Arc::<MemoryTopology>::default();
    let journal = open(&store);
    store.is_full.store(true, SeqCst);
    journal.put(TopologyTable::Queues, vec![1]);
    thread::scope(|scope| {
        scope.spawn(|| journal.run(|| ()));
        assert!(!journal.wait_until_committed_for(Duration::from_millis(20)));
        store.is_full.store(false, SeqCst);
        assert!(journal.wait_until_committed_for(Duration::from_secs(60)));
        journal.close();
    });
}
