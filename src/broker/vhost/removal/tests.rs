use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::{BrokerTime, Removal, Task, Vhost};
use crate::broker::{config::Limits, memory::Memory, vhost::Stamp};

#[test]
fn work_after_a_panic_is_still_done() {
    let memory = Memory::new(usize::MAX);
    let mut vhost = Vhost::new(
        "/",
        Limits::default(),
        Arc::clone(&memory),
        Stamp::default(),
    );
    let now = BrokerTime::default();
    let removed = Arc::new(AtomicUsize::new(0));
    // A removal of many steps, then one that panics, then one that does not.
    let removal = |pieces: Box<dyn Iterator<Item = ()> + Send>| {
        Task::Remove(Box::new(Removal {
            garbage: vec![pieces],
            ..Removal::default()
        }))
    };
    let tasks = [
        removal(Box::new(std::iter::repeat_n((), 100_000))),
        removal(Box::new(std::iter::once_with(|| {
            panic!("as the test wants")
        }))),
        removal(Box::new(std::iter::repeat_n((), 100_000).inspect({
            let removed = Arc::clone(&removed);
            move |_piece| {
                removed.fetch_add(1, Relaxed);
            }
        }))),
    ];
    vhost.begin_turn();
    for task in tasks {
        vhost.begin(1, task, now);
    }
    let mut panics = 0;
    for _ in 0..1000 {
        vhost.begin_turn();
        let pumped = catch_unwind(AssertUnwindSafe(|| vhost.pump(now)));
        panics += usize::from(pumped.is_err());
    }
    assert_eq!(panics, 1);
    assert!(!vhost.is_busy_for(1), "it stays busy");
    assert!(!vhost.has_work());
    assert_eq!(
        removed.load(Relaxed),
        100_000,
        "the deferred steps are done"
    );
}
