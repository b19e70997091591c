//! Whose certificates are taken.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::{io::AsyncWriteExt, time::Instant};

use super::{BODY_MAX, client, get, in_time, pooled};
use crate::{
    outbound::{
        Client, Config, OutboundError, Request,
        testing::{Target, certified, guarded, request},
    },
    telemetry::Metrics,
};

#[tokio::test]
async fn tls_needs_a_certificate_that_is_trusted_for_the_name() {
    let (pem, acceptor) = certified(b"http/1.1");
    let target = Target::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Some(mut stream) = guarded(acceptor, stream).await else {
                return;
            };
            while request(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 204 X\r\n\r\n";
                stream.write_all(answer).await.expect("written");
            }
        }
    })
    .await;
    let by_name = format!("https://localhost:{}/", target.at.port());
    let by_address = format!("https://127.0.0.1:{}/", target.at.port());
    let strict = client();
    let error = get(&strict, &by_name)
        .await
        .expect_err("its certificate is not trusted");
    assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );

    let lax = Request {
        tls_skip_verify: true,
        ..Request::new(Method::GET, &by_name)
    };
    for _ in 0..2 {
        let answer = strict
            .send(&lax, in_time(), BODY_MAX)
            .await
            .expect("an answer");
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }
    // The unverified connection waits in the pool. A request that needs a verified one does not use it.
    assert_eq!(pooled(&strict), 1);
    get(&strict, &by_name)
        .await
        .expect_err("still its certificate is not trusted");

    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, pem).expect("written");
    let mut config = Config::default();
    config.tls.ca = ca_file;
    let trusting = Client::new(&config, &Metrics::default()).expect("a client");
    let answer = get(&trusting, &by_name).await.expect("trusted");
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let error = get(&trusting, &by_address).await.expect_err("another name");
    assert!(matches!(error, OutboundError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn a_plain_target_is_no_tls_target() {
    let target = Target::always(200).await;
    let url = format!("https://{}/", target.at);
    let asked = Request::new(Method::GET, &url);
    let deadline = Instant::now() + Duration::from_secs(2);
    let error = client()
        .send(&asked, deadline, BODY_MAX)
        .await
        .expect_err("no TLS");
    assert!(
        matches!(
            error,
            OutboundError::Tls { .. } | OutboundError::Deadline(_)
        ),
        "{error}"
    );
}

#[test]
fn an_unusable_ca_file_is_named() {
    let mut config = Config::default();
    config.tls.ca = "/nowhere/ca.pem".into();
    let error = Client::new(&config, &Metrics::default()).expect_err("no file");
    assert!(
        error
            .to_string()
            .contains("outbound.tls.ca: \"/nowhere/ca.pem\""),
        "{error}"
    );
}
