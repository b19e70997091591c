use super::SnapshotPieces;
use crate::{
    api,
    http::testing::fixture::{register, registry, route},
    model::Timestamp,
};

/// However small the pieces: together they are the whole.
#[test]
fn pieces_of_any_size_make_the_whole() {
    let registry = registry(1000);
    for at in 0..40_u16 {
        register(
            &registry,
            &format!("i{at}"),
            &format!("s{}", at % 7),
            at + 1,
        );
    }
    for at in 0..5 {
        registry
            .set_route(route(&format!("r{at}"), "/x", "s0"))
            .unwrap();
    }
    let snapshot = registry.snapshot();
    let cursor = registry.cursor(snapshot.revision);
    let whole = api::snapshot(
        api::SnapshotBody {
            cursor,
            services: snapshot
                .services
                .iter()
                .map(|(service, view)| (service.name().as_str(), view.instances.values())),
            routes: Some(&snapshot.routes.list),
        },
        |_| Timestamp(0),
    );
    for bytes in [1, 10, 500, 2_000, 10_000, 1_000_000] {
        let mut pieces = SnapshotPieces::with_routes(cursor, registry.snapshot());
        let (mut out, mut n_pieces) = (Vec::new(), 1);
        loop {
            let before = out.len();
            let more = pieces.fill(&mut out, bytes, |_| Timestamp(0));
            assert!(out.len() - before < bytes + 1_000, "a piece is bounded");
            if !more {
                break;
            }
            n_pieces += 1;
        }
        assert_eq!(out, whole, "{bytes}");
        assert!(n_pieces >= whole.len() / (bytes + 1_000), "{bytes}");
    }
}
