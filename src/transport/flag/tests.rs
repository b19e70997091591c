use super::*;
use crate::{model::Revision, registry::Config, transport::testing::registration};

fn flag(mode: Mode) -> Flag {
    Flag::new(Modes::all(mode), Registry::new(Config::default()))
}

fn register(flag: &Flag, id: &str) {
    flag.registry.register(registration("a", id), None).unwrap();
}

#[test]
fn in_mode_queue_events_are_visible_after_the_broker_returned_them() {
    let flag = flag(Mode::Dual);
    register(&flag, "1");
    assert_eq!(flag.watermark().limit(), None);
    flag.set(Modes::all(Mode::Queue), None).unwrap();
    register(&flag, "2");
    assert_eq!(flag.watermark().limit(), Some(Revision(1)));
    flag.watermark().raise(Revision(2));
    flag.watermark().raise(Revision(1));
    assert_eq!(flag.watermark().limit(), Some(Revision(2)));
    flag.set(Modes::all(Mode::Direct), None).unwrap();
    assert_eq!(flag.watermark().limit(), None);
    flag.watermark().raise(Revision(9));
    assert_eq!(
        flag.watermark().limit(),
        None,
        "without a limit it stays unlimited"
    );
}

#[test]
fn a_change_with_an_old_version_is_refused() {
    let flag = flag(Mode::Direct);
    let seen = flag.state().version;
    flag.set(Modes::all(Mode::Queue), Some(seen)).unwrap();
    assert_eq!(
        flag.set(Modes::all(Mode::Dual), Some(seen)),
        Err(FlagError::Changed)
    );
    assert_eq!(flag.state().modes, Modes::all(Mode::Queue));
}

#[test]
fn setting_the_current_modes_is_a_manual_change() {
    let flag = flag(Mode::Direct);
    let (seen, follower) = (flag.state().version, flag.follow());
    let version = flag.set(Modes::all(Mode::Direct), Some(seen)).unwrap();
    assert!(version > seen);
    assert_eq!(flag.state().version, version);
    assert!(
        !follower.has_changed().unwrap(),
        "the modes are the same, so no follower is woken"
    );
    assert_eq!(
        flag.set(Modes::all(Mode::Dual), Some(seen)),
        Err(FlagError::Changed)
    );
}
