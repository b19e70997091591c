use super::Notices;

#[test]
fn the_newest_notices_are_kept_and_numbered() {
    let notices = Notices::new(2);
    let follower = notices.follow();
    assert_eq!((notices.newest(), *follower.borrow()), (0, 0));
    for event in ["migration.a", "migration.b", "migration.c"] {
        notices.push(event, "{}".into());
    }
    assert_eq!(*follower.borrow(), 3);
    let read = |seen| {
        let entries = notices.since(seen);
        let entries = entries.iter().map(|entry| (entry.number, entry.event));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(read(0), [(2, "migration.b"), (3, "migration.c")]);
    assert_eq!(read(2), [(3, "migration.c")]);
    assert_eq!(read(3), []);
}
