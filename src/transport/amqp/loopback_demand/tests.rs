use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    model::Modes,
    registry::{Config, Registry},
};

fn flag(mode: Mode) -> Flag {
    Flag::new(Modes::all(mode), Registry::new(Config::default()))
}

#[test]
fn events_are_consumed_back_in_dual_and_for_subscribers_in_queue() {
    for (mode, without, with) in [
        (Mode::Direct, false, true),
        (Mode::Dual, true, true),
        (Mode::Queue, false, true),
    ] {
        let flag = flag(mode);
        let mut demand = LoopbackDemand::new(&flag);
        assert_eq!(demand.is_needed(), without, "{mode}, nobody looks");
        let reader = flag.watermark().reader();
        assert_eq!(demand.is_needed(), with, "{mode}, one looks");
        drop(reader);
        assert_eq!(demand.is_needed(), without, "{mode}, nobody looks any more");
    }
}

#[tokio::test(start_paused = true)]
async fn demand_lasts_for_a_while_after_the_last_subscriber() {
    let flag = flag(Mode::Queue);
    let mut demand = LoopbackDemand::new(&flag);
    let looking = async {
        for _ in 0..10 {
            let _sight = flag.watermark().reader();
            tokio::time::sleep(LINGER / 2).await;
        }
        Instant::now()
    };
    demand.until(false).await;
    let over = async {
        demand.until_needed().await;
        demand.until_over().await;
        Instant::now()
    };
    let (gone, over) = tokio::join!(looking, over);
    assert_eq!(over - gone, LINGER);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_flag_is_noticed_too() {
    let flag = flag(Mode::Queue);
    let mut demand = LoopbackDemand::new(&flag);
    let early = timeout(Duration::from_secs(1), demand.until_needed()).await;
    assert!(early.is_err());
    flag.set(Modes::all(Mode::Dual), None).unwrap();
    demand.until_needed().await;
}
