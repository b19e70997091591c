//! The flag is changed under load, and nobody notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::post};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::stage::{Listener, Stage, registration};

/// When a consumer that does not end is given up.
const GIVEN_UP: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_flips_under_load_and_each_subscriber_has_each_event_once_and_in_order() {
    let stage = Arc::new(Stage::start(&[]).await);
    stage.until_sent().await;
    let mut all = stage.listen(&["service.events.#"]).await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    {
        let (stage, enough) = (Arc::clone(&stage), Arc::clone(&enough));
        load.spawn(async move {
            let mut id = 0;
            while !enough.load(Ordering::Relaxed) {
                stage.register("load", id..id + 1).await;
                id += 1;
            }
        });
    }
    let modes = ["direct", "dual", "queue"];
    for at in 0..100 {
        // Every change from one mode to another, for all channels and for one alone.
        let mode = modes[(at * 7 + at / 3) % 3];
        let body = if at % 4 == 3 {
            json!({"channels": {"events": mode}})
        } else {
            json!({"mode": mode})
        };
        stage.put(200, body).await;
        sleep(Duration::from_millis(3)).await;
    }
    enough.store(true, Ordering::Relaxed);
    load.join_next().await.unwrap().unwrap();
    stage.until_called().await;
    stage.set("queue").await;
    stage.register("last", 0..1).await;
    let newest = stage.registry.newest().0;
    // No flip is a crash: what was sent is confirmed before the connection is closed.
    let seen = all.revisions_until(newest).await;
    assert_eq!(seen, (1..=newest).collect::<Vec<_>>());
    stage.until_called().await;
    Arc::into_inner(stage).unwrap().stop().await;
}

/// Passes bytes on to this address, and what comes back only while it is not held up. Answers where it listens.
async fn slow_way(to: String, held: watch::Receiver<bool>, ways: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    ways.spawn(async move {
        let mut both = JoinSet::new();
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(&to).await.unwrap();
            let (mut near_in, mut near_out) = near.into_split();
            let (mut far_in, mut far_out) = far.into_split();
            both.spawn(async move {
                let _ended = tokio::io::copy(&mut near_in, &mut far_out).await;
            });
            let mut held = held.clone();
            both.spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = far_in.read(&mut bytes).await {
                    held.wait_for(|held| !held).await.unwrap();
                    if near_out.write_all(&bytes[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn events_confirmed_after_a_mode_change_are_not_sent_twice() {
    // It lends its broker.
    let host = Stage::start(&[("transport.mode", "direct")]).await;
    let (hold, held) = watch::channel(false);
    let mut ways = JoinSet::new();
    let (user, place) = host.amqp.split_once('@').unwrap();
    let (address, vhost) = place.split_once('/').unwrap();
    let slow = slow_way(address.to_owned(), held, &mut ways).await;
    let url = format!("{user}@{slow}/{vhost}");
    let stage = Stage::on(&url, &[("migration.guard", "off")]).await;
    stage.until_sent().await;
    let mut all = Listener::new(&host.amqp, &["service.events.#"]).await;
    stage.register("a", 0..1).await;
    stage.until_sent().await;
    hold.send_replace(true);
    let since = Instant::now();
    stage.register("a", 1..20).await;
    stage.set("direct").await;
    let release = async {
        // Longer than the change of mode waits for consumers that end late for other reasons.
        sleep_until(since + Duration::from_millis(3_600)).await;
        hold.send_replace(false);
    };
    tokio::join!(stage.set("queue"), release);
    stage.register("a", 20..21).await;
    let newest = stage.registry.newest().0;
    let seen = all.revisions_until(newest).await;
    assert_eq!(seen, (1..=newest).collect::<Vec<_>>());
    stage.until_called().await;
    stage.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_end_during_deliveries_are_replaced() {
    let stage = Arc::new(Stage::start(&[("transport.mode", "direct")]).await);
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    let mut probed = registration("probed", 0);
    probed["host"] = json!("127.0.0.1");
    probed["port"] = json!(port);
    probed["checks"] = json!([{"type": "tcp", "interval": "10s"}]);
    let register = stage
        .client
        .post(format!("{}/services/register", stage.http));
    let registered = register.body(probed.to_string()).send().await.unwrap();
    assert_eq!(registered.status(), 200);
    let mut load = JoinSet::new();
    load.spawn(async move { while target.accept().await.is_ok() {} });
    for _ in 0..8 {
        let stage = Arc::clone(&stage);
        load.spawn(async move {
            loop {
                let check = format!("{}/services/probed-0/check", stage.http);
                let checked = stage.client.post(check).send().await.unwrap();
                assert_eq!(checked.status(), 200);
            }
        });
    }
    for _ in 0..20 {
        let began = Instant::now();
        stage.set("queue").await;
        stage.set("direct").await;
        // The next time waits for those who leave.
        assert!(began.elapsed() < GIVEN_UP, "{:?}", began.elapsed());
    }
    load.shutdown().await;
    Arc::into_inner(stage).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_channel_each_at_the_same_time_all_hold() {
    let stage = Stage::start(&[]).await;
    stage.until_sent().await;
    let modes = ["direct", "dual", "queue"];
    for at in 0..18 {
        // Apart and together.
        let wanted = [0, 1, 2].map(|channel| modes[(at + channel + at / 3 * channel) % 3]);
        let [events, health, discovery] = wanted;
        let put = |channel: &str, mode: &str| {
            let body = json!({"channels": {channel: mode}});
            let channel = channel.to_owned();
            let put = stage.put(200, body);
            async move { (channel, put.await) }
        };
        let answers = tokio::join!(
            put("events", events),
            put("health", health),
            put("discovery", discovery)
        );
        // Each sees its own change, whatever the others did meanwhile.
        for ((channel, answer), mode) in [answers.0, answers.1, answers.2].into_iter().zip(wanted) {
            assert_eq!(answer["channels"][&channel]["mode"], mode, "{answer}");
        }
        let report = stage.transport().await;
        for (channel, mode) in ["events", "health", "discovery"].iter().zip(wanted) {
            assert_eq!(report["channels"][channel]["mode"], mode, "{report}");
        }
    }
    stage.register("a", 0..5).await;
    stage.until_called().await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_queue_a_stop_delivers_what_is_left() {
    let stage = Stage::start(&[("transport.mode", "queue")]).await;
    stage.until_sent().await;
    let mut all = stage.listen(&["service.events.#"]).await;
    for id in 0..200 {
        let body = registration("a", id).to_string();
        let asked = stage
            .client
            .post(format!("{}/services/register", stage.http));
        assert_eq!(asked.body(body).send().await.unwrap().status(), 200);
    }
    let newest = stage.registry.newest().0;
    let ((), seen) = tokio::join!(stage.stop(), all.revisions_until(newest));
    assert_eq!(seen, (1..=newest).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_consumed_back_once_they_are_needed() {
    let mut stage = Stage::start(&[("transport.mode", "direct")]).await;
    stage.unsubscribe();
    stage.set("queue").await;
    stage.register("early", 0..20).await;
    stage.until_sent().await;
    let heard = |report: &Value| report["channels"]["events"]["compared"].as_u64();
    assert_eq!(heard(&stage.transport().await), Some(0), "nobody listens");

    let delivered = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&delivered);
    let receiver = Router::new().route(
        "/",
        post(|body: String| async move {
            let event: Value = serde_json::from_str(&body).unwrap();
            seen.lock()
                .push(event["service_id"].as_str().unwrap().to_owned());
        }),
    );
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", door.local_addr().unwrap());
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(door, receiver).await.unwrap() });
    let made = stage.client.post(format!("{}/watchers", stage.http));
    let body = json!({"service_name": "*", "callback_url": url}).to_string();
    assert_eq!(made.body(body).send().await.unwrap().status(), 201);

    stage.register("late", 0..20).await;
    stage
        .until("the broker brings the later events back", |report| {
            heard(report) > Some(0)
        })
        .await;
    stage.register("last", 0..1).await;
    while delivered.lock().last().is_none_or(|id| id != "last-0") {
        sleep(Duration::from_millis(5)).await;
    }
    let late = (0..20).map(|id| format!("late-{id}"));
    let wanted: Vec<_> = late.chain(["last-0".to_owned()]).collect();
    assert_eq!(*delivered.lock(), wanted);
    stage.stop().await;
}
