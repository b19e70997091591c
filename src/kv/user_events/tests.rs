use super::*;

fn events() -> UserEvents {
    UserEvents::new(Arc::new(Notices::new(KEPT_MAX)))
}

fn named(name: &str) -> UserEventDraft {
    UserEventDraft {
        name: name.into(),
        payload: Bytes::from_static(b"now"),
        ..UserEventDraft::default()
    }
}

#[test]
fn the_newest_events_are_kept_and_leave() {
    let events = events();
    let mut following = events.follow();
    following.mark_unchanged();
    for number in 0..KEPT_MAX + 3 {
        let event = events.fire(named("deploy"), |event| Bytes::from(event.time.to_string()));
        assert_eq!(event.unwrap().time, number as u64 + 1);
    }
    assert!(following.has_changed().unwrap());
    let all = events.list(|_| true);
    assert_eq!(all.len(), KEPT_MAX);
    assert_eq!((all[0].time, all[KEPT_MAX - 1].time), (4, 259));
    assert!(all.iter().all(|event| event.index() > 1));
    assert!(
        events
            .list(|event| &*event.draft.name == "other")
            .is_empty()
    );
    let notices = events.notices.since(0);
    let last = notices.last().unwrap();
    assert_eq!(
        (&*last.key, &last.json[..]),
        ("user.event.deploy", &b"259"[..])
    );
}

#[test]
fn what_is_wrong_is_named() {
    let check = |draft: UserEventDraft, what: &str| {
        let events = events();
        let refused = events.fire(draft, |_| Bytes::new()).unwrap_err();
        assert_eq!(refused.status(), 400);
        assert!(refused.to_string().contains(what), "{refused}");
        assert!(events.list(|_| true).is_empty());
    };
    check(named(""), "Missing name");
    check(named(&"n".repeat(201)), "at most 200");
    let mut large = named("a");
    large.payload = vec![0; EVENT_PAYLOAD_BYTES_MAX + 1].into();
    check(large, "at most 16384");
    let mut tag = named("a");
    tag.tag_filter = "t".into();
    check(tag, "tag filter without service filter");
    let mut node = named("a");
    node.node_filter = "(".into();
    check(node, "Invalid node filter");
    let mut service = named("a");
    service.service_filter = "(a{1000}){1000}".into();
    check(service, "Invalid service filter");
    let mut long = named("a");
    long.service_filter = "s".repeat(600).into();
    check(long, "at most 512");
}
