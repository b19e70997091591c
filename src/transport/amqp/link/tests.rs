use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::Link;
use crate::{
    model::{FlagState, Mode, Modes},
    registry::{self, Registry},
    tasks::Stage,
    transport::{Config, amqp::topics::tests::Scripted},
};

#[tokio::test(start_paused = true)]
async fn a_stop_ends_in_its_part_of_the_grace_although_the_broker_does_not_close() {
    for grace in [1, 5, 10, 60].map(Duration::from_secs) {
        let part = Stage::Carrier.part_of(grace);
        let drain = Stage::Carrier.patience(grace, Config::default().drain.get());
        let config = Config {
            drain: drain.into(),
            ..Config::default()
        };
        let broker = Scripted::never_closing();
        let registry = Registry::new(registry::Config::default());
        let link = Link::new(Arc::new(broker), &config, registry.clock().clone());
        let modes = Modes::all(Mode::Queue);
        let (_flag, flag) = watch::channel(FlagState { modes, version: 0 });
        let last = CancellationToken::new();
        let began = Instant::now();
        let stop = async {
            // A use that does not end.
            let usage = link.until_up().await;
            // What relays and commands may take before the connection is closed.
            sleep(drain).await;
            last.cancel();
            usage
        };
        let ((), _usage) = tokio::join!(link.clone().run(flag, last.clone()), stop);
        let took = began.elapsed();
        assert!(took > drain && took < part, "{took:?} of {part:?}");
    }
}
