//! What the checks write is judged as theirs.

use std::time::Duration;

use super::{Config, http, quick, start, tcp};
use crate::{
    catalog::{Door, Operation, take_judged},
    outbound::testing::{Target, nobody},
};

#[tokio::test]
async fn each_write_of_the_checks_is_judged_once() {
    let seldom = Config {
        first_within: Duration::from_secs(1000).into(),
        ..quick()
    };
    let daemon = start(seldom);
    let up = Target::always(200).await;
    daemon.register("up", &[http("web", up.url("/"))]);
    daemon.register("down", &[tcp(nobody().await)]);
    let observed = (Door::Health, Operation::Observe);
    take_judged();
    daemon.health.check_now("up").await.unwrap();
    assert_eq!(
        take_judged(),
        [observed, observed],
        "the lease that a passing check renews, and the verdict"
    );
    daemon.health.check_now("down").await.unwrap();
    assert_eq!(take_judged(), [], "one failure is no verdict");
    daemon.health.check_now("down").await.unwrap();
    assert_eq!(take_judged(), [observed]);
}
