use std::{future::poll_fn, pin::pin};

use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    catalog::{Operation, take_judged},
    model::{Channel, Modes},
    registry,
    telemetry::Metrics,
    transport::{Config, Direct, DirectMetrics, Flag, HighWatermark},
};

/// A canary whose checks go both ways, and that is healthy as soon as it is registered.
fn port(step: Duration) -> CanaryClient {
    let registry = Registry::new(registry::Config::default());
    let modes = Modes::all(Mode::Direct).with(Channel::Health, Mode::Dual);
    let callbacks = Callbacks::new(
        registry.clone(),
        Config::default(),
        HighWatermark::default(),
        DirectMetrics::new(&Metrics::default()),
    );
    let body = json!({
        "service_id": CANARY, "service_name": CANARY, "host": "127.0.0.1", "port": 1,
    });
    let parsed = api::registration(body.to_string().as_bytes(), &Defaults::default());
    registry
        .register(parsed.unwrap().registration, None)
        .unwrap();
    CanaryClient {
        transports: TransportSwitch::new(
            registry.clone(),
            Flag::new(modes, registry.clone()),
            None,
            Direct::On,
        ),
        registry,
        callbacks,
        address: None,
        timeout: step,
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_both_ways_keeps_within_its_time() {
    for ms in [10, 100, 400, 2_000] {
        let step = Duration::from_millis(ms);
        let probed = timeout(step, port(step).probe()).await;
        assert_eq!(probed.expect("in time"), Ok(()), "{step:?}");
    }
    let started = Instant::now();
    port(Duration::from_secs(2)).probe().await.unwrap();
    assert_eq!(started.elapsed(), BOTH_WAYS_MAX, "if there is enough time");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_accept_tries_again_later() {
    // Bound, but it does not listen: each accept fails.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let target = CanaryTarget(TcpListener::from_std(socket.into()).unwrap());
    let mut run = pin!(target.run(CancellationToken::new()));
    let mut polls = 0;
    let counted = poll_fn(|context| {
        polls += 1;
        assert!(polls < 1_000, "it spins");
        run.as_mut().poll(context)
    });
    assert!(timeout(Duration::from_secs(10), counted).await.is_err());
    assert!(polls >= 50, "{polls}");
}

#[tokio::test]
async fn each_direct_write_of_the_canary_is_judged_once() {
    let mut client = port(Duration::from_secs(1));
    client.address = Some(([127, 0, 0, 1], 1).into());
    take_judged();
    client.register().await.unwrap();
    assert_eq!(take_judged(), [(Door::Canary, Operation::Register)]);
    client.deregister().await.unwrap();
    assert_eq!(take_judged(), [(Door::Canary, Operation::Deregister)]);
    client.clean();
    assert_eq!(take_judged(), [(Door::Canary, Operation::Deregister)]);
}
