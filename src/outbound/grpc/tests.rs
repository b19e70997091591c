use std::time::Duration;

use bytes::BytesMut;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{GrpcCall, Serving, asking, field_1, put_varint, serving, varint};
use crate::{
    outbound::{
        Client, Config, OutboundError,
        testing::{Target, certified, grpc::serve, guarded},
    },
    telemetry::Metrics,
};

fn client() -> Client {
    Client::new(&Config::default(), &Metrics::default()).expect("a client")
}

fn call(target: &Target, service: &str) -> GrpcCall {
    GrpcCall {
        host: "127.0.0.1".into(),
        port: target.at.port(),
        service: service.into(),
        tls: false,
        tls_skip_verify: false,
    }
}

async fn ask(client: &Client, call: &GrpcCall) -> Result<Serving, OutboundError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    client.grpc_health(call, deadline).await
}

#[tokio::test]
async fn services_are_asked_for_over_one_connection() {
    let target = Target::start(|stream, _| serve(stream)).await;
    let client = client();
    for (service, expected) in [
        ("", Serving::Serving),
        ("down", Serving::NotServing),
        ("default", Serving::Unknown),
    ] {
        let found = ask(&client, &call(&target, service))
            .await
            .expect("an answer");
        assert_eq!(found, expected, "{service}");
    }
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn calls_that_end_badly_are_errors() {
    let target = Target::start(|stream, _| serve(stream)).await;
    let client = client();
    for (service, expected) in [
        ("nowhere", "gRPC status 5: unknown service"),
        ("failing", "gRPC status 13: "),
        ("untrailed", "the response is not valid: no grpc-status"),
        ("huge", "the response is not valid: the message is too long"),
        (
            "http",
            "the response is not valid: HTTP status 502 Bad Gateway",
        ),
    ] {
        let error = ask(&client, &call(&target, service))
            .await
            .expect_err(service);
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_server_without_http2_is_an_error() {
    let client = client();
    let garbage = Target::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let error = ask(&client, &call(&garbage, ""))
        .await
        .expect_err("HTTP/1.1");
    let expected = matches!(error, OutboundError::Garbage(_) | OutboundError::Broken(_));
    assert!(expected, "{error:?}");
    let silent = Target::silent().await;
    let soon = Instant::now() + Duration::from_millis(100);
    let error = client
        .grpc_health(&call(&silent, ""), soon)
        .await
        .expect_err("silence");
    assert!(error.is_deadline(), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_ended_meanwhile_is_replaced() {
    let target = Target::start(|stream, _| async move {
        let _ = tokio::time::timeout(Duration::from_millis(50), serve(stream)).await;
    })
    .await;
    let client = client();
    ask(&client, &call(&target, "")).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    ask(&client, &call(&target, "")).await.expect("an answer");
    assert_eq!(target.connections(), 2);
}

#[tokio::test]
async fn over_tls_the_certificate_is_verified_by_default() {
    let (_, acceptor) = certified(b"h2");
    let target = Target::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if let Some(stream) = guarded(acceptor, stream).await {
                serve(stream).await;
            }
        }
    })
    .await;
    let strict = GrpcCall {
        tls: true,
        ..call(&target, "")
    };
    let error = ask(&client(), &strict)
        .await
        .expect_err("its certificate is not trusted");
    assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
    let lax = GrpcCall {
        tls_skip_verify: true,
        ..strict
    };
    assert_eq!(
        ask(&client(), &lax).await.expect("an answer"),
        Serving::Serving
    );
}

#[test]
fn the_messages_are_those_of_the_protocol() {
    assert_eq!(&asking("")[..], [0, 0, 0, 0, 0]);
    assert_eq!(&asking("ab")[..], [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
    assert_eq!(asking(&"a".repeat(200))[5..8], [10, 200, 1]);
    #[track_caller]
    fn check(framed: &[u8], expected: Option<Serving>) {
        assert_eq!(serving(framed).ok(), expected, "{framed:?}");
    }
    check(&[0, 0, 0, 0, 2, 8, 1], Some(Serving::Serving));
    check(&[0, 0, 0, 0, 2, 8, 9], Some(Serving::Other(9)));
    // Fields that a later version may have are skipped; the last value counts.
    check(
        &[0, 0, 0, 0, 9, 8, 2, 18, 1, 0, 24, 0, 8, 1],
        Some(Serving::Serving),
    );
    check(&[0, 0, 0, 0, 1, 8], None);
    check(&[1, 0, 0, 0, 2, 8, 1], None);
    check(&[0, 0, 0, 0, 3, 8, 1], None);
    check(&[0, 255, 255, 255, 255, 8, 1], None);
    check(&[0, 0, 0], None);
}

proptest! {
    #[test]
    fn varints_round_trip(value: u64) {
        let mut out = BytesMut::new();
        put_varint(value, &mut out);
        let mut left = &out[..];
        prop_assert_eq!(varint(&mut left), Some(value));
        prop_assert!(left.is_empty());
    }

    #[test]
    fn any_message_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let _ = field_1(&bytes);
        let _ = serving(&bytes);
    }
}
