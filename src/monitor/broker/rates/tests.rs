use std::{collections::HashMap, time::Duration};

use tokio::time::{advance, sleep};
use tokio_util::sync::CancellationToken;

use super::{MessageCounts, Sample, Sampler};
use crate::broker::{Broker, Config, vhost::VhostSample};

fn totals(published: u64) -> MessageCounts {
    MessageCounts {
        published,
        delivered: published / 2,
        acked: 0,
    }
}

fn sample(published: u64) -> Sample {
    let mut vhost = VhostSample::default();
    vhost.counters.published = published;
    vhost.counters.delivered = published / 2;
    Sample::new(HashMap::from([("/".to_owned(), vhost)]))
}

#[tokio::test(start_paused = true)]
async fn rates_are_of_the_time_since_the_oldest_sample() {
    let sampler = Sampler::default();
    let rates = sampler.oldest().of_all(totals(100));
    assert_eq!(rates.published, 100.0, "of one second at least");
    sampler.keep(sample(100));
    advance(Duration::from_secs(2)).await;
    let rates = sampler.oldest().of_all(totals(300));
    assert_eq!((rates.over_seconds, rates.published), (2.0, 100.0));
    assert_eq!((rates.delivered, rates.acked), (50.0, 0.0));
    for published in [300, 301] {
        sampler.keep(sample(published));
    }
    advance(Duration::from_secs(4)).await;
    let rates = sampler.oldest().of_all(totals(301));
    assert_eq!(rates.published, 0.3, "the sample of 100 is forgotten");
    let rates = sampler.oldest().of_all(totals(0));
    assert_eq!(
        rates.published, 0.0,
        "totals that fell are no negative rate"
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_sampler_keeps_the_last_seconds_and_stops() {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    };
    let broker = Broker::bind(config).await.unwrap().broker();
    let sampler = Sampler::default();
    let stop = CancellationToken::new();
    let running = sampler.clone().run(broker, stop.clone());
    let watching = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(sampler.samples.lock().len(), 2);
        let over = sampler
            .oldest()
            .of_all(MessageCounts::default())
            .over_seconds;
        assert!((2.5..=5.0).contains(&over), "{over}");
        let history = sampler.history();
        // 60 s end while the sixth point is taken.
        assert!((5..=6).contains(&history.len()), "{}", history.len());
        assert!(history.iter().all(|point| point.over_seconds == 10.0));
        sleep(Duration::from_secs(700)).await;
        assert_eq!(sampler.history().len(), 60, "ten minutes are kept");
        stop.cancel();
    };
    tokio::join!(running, watching);
}
