use std::panic::{AssertUnwindSafe, catch_unwind};

use super::waking_afterwards;
use crate::{
    model::Revision,
    registry::{Config, Registry, tests::registration},
};

#[test]
fn followers_are_woken_after_the_work_and_find_all_of_it() {
    let registry = Registry::new(Config::default());
    let mut following = registry.follow();
    waking_afterwards(|| {
        registry.register(registration("1", "a", 80), None).unwrap();
        waking_afterwards(|| registry.register(registration("2", "a", 80), None).unwrap());
        assert_eq!(
            registry.newest(),
            Revision(2),
            "a reader sees the change at once"
        );
        assert!(
            !following.has_changed().unwrap(),
            "who waits goes on waiting"
        );
    });
    assert_eq!(*following.borrow_and_update(), Revision(2));
    registry.register(registration("3", "a", 80), None).unwrap();
    assert_eq!(*following.borrow_and_update(), Revision(3), "at once again");
}

#[test]
fn a_panic_still_wakes_the_followers_of_each_registry() {
    let (one, other) = (
        Registry::new(Config::default()),
        Registry::new(Config::default()),
    );
    let (of_one, of_other) = (one.follow(), other.follow());
    let broken = catch_unwind(AssertUnwindSafe(|| {
        waking_afterwards(|| {
            one.register(registration("1", "a", 80), None).unwrap();
            other.register(registration("1", "a", 80), None).unwrap();
            panic!("on purpose");
        })
    }));
    assert!(broken.is_err());
    assert!(of_one.has_changed().unwrap() && of_other.has_changed().unwrap());
}
