use std::net::Ipv4Addr;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn with(connections: usize, unauthenticated: usize, files: usize) -> Connections {
    let limits = Limits {
        connections: connections.into(),
        unauthenticated: unauthenticated.into(),
        ..Limits::default()
    };
    Connections::new(&limits, files)
}

#[test]
fn at_the_limit_the_oldest_unauthenticated_client_is_disconnected() {
    let all = with(2, 3, 1_000_000);
    let waiting: Vec<_> = (1..=5).map(|id| all.arrive(id, HERE)).collect();
    let evicted: Vec<_> = waiting
        .iter()
        .map(|one| one.evicted.is_cancelled())
        .collect();
    assert_eq!(evicted, [true, true, false, false, false]);
    drop(waiting);
    let (one, other) = (all.arrive(6, HERE), all.arrive(7, HERE));
    assert!(!one.evicted.is_cancelled() && !other.evicted.is_cancelled());
}

#[test]
fn clients_that_have_not_logged_in_take_no_connection() {
    let all = with(4, 3, 1_000_000);
    let _waiting: Vec<_> = (1..=3).map(|id| all.arrive(id, HERE)).collect();
    let mut permits: Vec<_> = (0..4).map(|_| all.permit()).collect();
    assert!(permits.iter().all(Option::is_some));
    assert!(all.permit().is_none());
    permits.pop();
    assert!(all.permit().is_some(), "it was given back");
}

#[test]
fn clients_never_take_all_files_that_may_be_open() {
    for (files, connections, waiting) in [
        (usize::MAX, 10_000, 1000),
        (1024, 459, 153),
        (300, 135, 45),
        (20_000, 10_000, 1000),
        (4, 1, 1),
    ] {
        let all = with(10_000, 1000, files);
        assert_eq!(
            (all.limit(), all.waiting_limit()),
            (connections, waiting),
            "{files} files"
        );
        assert!(all.limit() + all.waiting_limit() <= files);
    }
}
