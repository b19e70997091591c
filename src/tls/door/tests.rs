use std::{fs, path::PathBuf};

use rcgen::{SerialNumber, date_time_ymd};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::{ClientFiles, MinVersion, testing::Authority};

const SECOND: Duration = Duration::from_secs(1);

/// A client that shows this certificate.
fn client(authority: &Authority, certificate: Option<&str>) -> ClientConfig {
    let named = |key: &str, path: PathBuf| (key.to_owned(), path);
    let mut files = ClientFiles {
        roots: named("--ca", authority.path("root.pem")),
        ..ClientFiles::default()
    };
    if let Some(name) = certificate {
        files.certificate = named("--cert", authority.path(&format!("{name}.pem")));
        files.key = named("--key", authority.path(&format!("{name}.key")));
    }
    files.read().unwrap().verifying().unwrap()
}

/// What the server has accepted; the client's end stays open.
async fn shake(
    tls: &ServerTls,
    client: ClientConfig,
) -> io::Result<(AcceptedTls<tokio::io::DuplexStream>, impl Sized)> {
    let (near, far) = tokio::io::duplex(4096);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let client = async {
        let mut stream = connector.connect(name, near).await?;
        // A refusal arrives here.
        let read = timeout(SECOND, stream.read_u8()).await;
        read.unwrap_or(Ok(0)).map(|_| stream)
    };
    let server = async {
        let mut accepted = tls.accept(far).await?;
        accepted.stream.write_u8(1).await?;
        accepted.stream.flush().await?;
        Ok::<_, io::Error>(accepted)
    };
    let (accepted, open) = tokio::join!(server, client);
    Ok((accepted?, open?))
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate_and_speaks_the_protocol_that_it_chose() {
    let authority = Authority::new();
    authority.issue("orders", |_| ());
    let tls = ServerTls::load(authority.server(), SECOND).unwrap();
    let (accepted, _open) = shake(&tls, client(&authority, None)).await.unwrap();
    assert!(accepted.client.is_none() && !accepted.is_http2);
    let mut h2 = client(&authority, Some("orders"));
    h2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (accepted, _open) = shake(&tls, h2).await.unwrap();
    let certificate = accepted.client.unwrap();
    assert_eq!(certificate.names().common_name.as_deref(), Some("orders"));
    assert!(certificate.is_valid() && accepted.is_http2);
}

#[tokio::test]
async fn a_certificate_that_is_revoked_later_ends_its_connection_and_no_other() {
    let authority = Authority::new();
    let serial = |number: u64| {
        move |params: &mut rcgen::CertificateParams| {
            params.serial_number = Some(SerialNumber::from(number));
        }
    };
    authority.issue("kept", serial(7));
    authority.issue("gone", serial(8));
    authority.revoke(&[]);
    let mut files = authority.server();
    if let Some(clients) = &mut files.clients {
        clients.revoked = authority.path("revoked.pem");
    }
    let tls = ServerTls::load(files, SECOND).unwrap();
    let (kept, _one) = shake(&tls, client(&authority, Some("kept"))).await.unwrap();
    let (gone, _two) = shake(&tls, client(&authority, Some("gone"))).await.unwrap();
    assert!(!tls.refresh().unwrap(), "nothing has changed");
    authority.revoke(&[8]);
    assert!(tls.refresh().unwrap());
    assert!(kept.client.unwrap().is_valid());
    assert!(!gone.client.unwrap().is_valid());
    let refused = shake(&tls, client(&authority, Some("gone"))).await;
    assert!(refused.is_err(), "it is refused from now on");
}

#[tokio::test]
async fn another_pair_is_used_from_the_next_handshake_on_and_a_faulty_one_is_not() {
    let authority = Authority::new();
    let other = Authority::new();
    let tls = ServerTls::load(authority.server(), SECOND).unwrap();
    let copy = |file: &str| {
        fs::copy(other.path(file), authority.path(file)).unwrap();
    };
    copy("server.pem");
    let refused = tls.refresh().unwrap_err().to_string();
    assert!(refused.contains("does not go with"), "{refused}");
    let old = shake(&tls, client(&authority, None)).await;
    assert!(old.is_ok(), "the ones before stay in use");
    copy("server.key");
    assert!(tls.refresh().unwrap());
    let strange = shake(&tls, client(&authority, None)).await;
    assert!(strange.is_err(), "its root is not trusted by this client");
    assert!(shake(&tls, client(&other, None)).await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    authority.issue("old", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let tls = ServerTls::load(authority.server(), SECOND).unwrap();
    assert!(shake(&tls, client(&authority, Some("old"))).await.is_err());
}

#[tokio::test]
async fn a_handshake_ends_in_time_and_old_versions_are_refused() {
    let authority = Authority::new();
    let tls = ServerTls::load(authority.server(), Duration::from_millis(20)).unwrap();
    let (_silent, far) = tokio::io::duplex(64);
    let error = tls.accept(far).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let files = ServerFiles {
        min_version: MinVersion::Tls13,
        ..authority.server()
    };
    let newest = ServerTls::load(files, SECOND).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = crate::tls::trusting();
    let only_12 = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let both = ServerTls::load(authority.server(), SECOND).unwrap();
    assert!(shake(&both, only_12.clone()).await.is_ok());
    assert!(shake(&newest, only_12).await.is_err());
}
