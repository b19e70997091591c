use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;

use super::*;

fn encryption() -> Encryption {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Encryption {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        user_from: tls::UserFrom::CommonName,
        certificate_end: 0,
    }
}

/// Why a client that sends these bytes to the encrypted listener is refused.
async fn refusal(sent: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    match encrypt(socket, &encryption()).await.unwrap_err() {
        HandshakeError::Protocol(sent) => format!("speaks {sent}"),
        HandshakeError::Tls(error) => format!("TLS: {error}"),
        HandshakeError::Socket(_) => "gone".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_client_without_tls_and_a_lost_client_have_different_errors() {
    for (sent, expected) in [
        (
            &b"AMQP\0\0\x09\x01"[..],
            "speaks AMQP 0.9.1 with protocol id 0 without TLS",
        ),
        (b"GET / HTTP/1.1\r\n", "speaks HTTP without TLS"),
        (b"\x16\x03\x01\0\x05hello", "TLS: "),
        (b"\x16\x03", "gone"),
        (b"", "gone"),
    ] {
        let message = refusal(sent).await;
        assert!(message.starts_with(expected), "{message}");
    }
}
