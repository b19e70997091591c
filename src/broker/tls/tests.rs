use std::{fs, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Config, UserFrom, user_of};

/// A root with a server's certificate below it, as files, and what clients need.
struct Site {
    folder: TempDir,
    root: Issuer<'static, KeyPair>,
    root_der: CertificateDer<'static>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed");
        let site = Self {
            folder,
            root: Issuer::new(params, key),
            root_der: certificate.der().clone(),
        };
        site.write("root.pem", &certificate.pem());
        let (server, key) = site.issue("localhost");
        site.write("server.pem", &server.pem());
        site.write("server.key", &key.serialize_pem());
        site
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.root).expect("signed"), key)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).expect("written");
    }

    fn config(&self) -> Config {
        Config {
            listen: "127.0.0.1:0".to_owned(),
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            ..Config::default()
        }
    }

    fn client(&self, name: Option<&str>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root_der.clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let Some(name) = name else {
            return builder.with_no_client_auth();
        };
        let (certificate, key) = self.issue(name);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        builder
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .expect("a pair")
    }
}

fn server(config: &Config) -> Result<Arc<rustls::ServerConfig>, crate::tls::TlsError> {
    let (server, _) = config.files()?.server()?;
    Ok(server)
}

/// Shakes hands and sends eight bytes; the user that the client's certificate names.
async fn shake(config: &Config, client: ClientConfig) -> Result<Option<String>, std::io::Error> {
    let acceptor = TlsAcceptor::from(server(config).expect("well-formed"));
    let connector = TlsConnector::from(Arc::new(client));
    let (near, far) = tokio::io::duplex(4096);
    let name = ServerName::try_from("localhost").expect("a name");
    let client = async {
        let mut stream = connector.connect(name, near).await?;
        stream.write_all(b"AMQP\0\0\x09\x01").await?;
        stream.flush().await?;
        // Until the server is done; a refusal arrives here.
        stream.read(&mut [0; 1]).await
    };
    let server = async {
        let mut stream = acceptor.accept(far).await?;
        let mut header = [0; 8];
        stream.read_exact(&mut header).await?;
        assert_eq!(&header, b"AMQP\0\0\x09\x01");
        let user = user_of(stream.get_ref().1.peer_certificates(), config.user_from);
        stream.shutdown().await?;
        Ok(user)
    };
    let (user, _client) = tokio::join!(server, client);
    user
}

#[tokio::test]
async fn a_client_without_a_certificate() {
    let site = Site::new();
    let user = shake(&site.config(), site.client(None))
        .await
        .expect("a handshake");
    assert_eq!(user, None);
    let user = shake(&site.config(), site.client(Some("orders")))
        .await
        .expect("a handshake");
    assert_eq!(user, None, "nobody asked for it");
}

#[tokio::test]
async fn a_certificate_names_its_user() {
    let site = Site::new();
    let mut config = Config {
        client_ca: site.path("root.pem"),
        ..site.config()
    };
    let user = shake(&config, site.client(Some("orders")))
        .await
        .expect("a handshake");
    assert_eq!(user.as_deref(), Some("CN=orders"));
    config.user_from = UserFrom::CommonName;
    let user = shake(&config, site.client(Some("orders")))
        .await
        .expect("a handshake");
    assert_eq!(user.as_deref(), Some("orders"));
    let user = shake(&config, site.client(None))
        .await
        .expect("a handshake");
    assert_eq!(user, None);
}

#[tokio::test]
async fn a_required_client_certificate_is_enforced() {
    let site = Site::new();
    let config = Config {
        client_ca: site.path("root.pem"),
        client_certificate_required: true,
        ..site.config()
    };
    assert!(shake(&config, site.client(Some("orders"))).await.is_ok());
    assert!(shake(&config, site.client(None)).await.is_err());
    let stranger = Site::new();
    let mut unknown = stranger.client(Some("orders"));
    let mut roots = RootCertStore::empty();
    roots.add(site.root_der.clone()).expect("a root");
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots),
        Arc::new(ring::default_provider()),
    );
    unknown
        .dangerous()
        .set_certificate_verifier(verifier.build().expect("a verifier"));
    assert!(
        shake(&config, unknown).await.is_err(),
        "a certificate of another root"
    );
}

#[track_caller]
fn check_refused(config: &Config, file: &str, text: &str) {
    let error = server(config).expect_err("refused");
    let shown = error.to_string();
    assert!(shown.contains(file) && shown.contains(text), "{shown}");
}

#[test]
fn errors_name_the_key_and_the_file() {
    let site = Site::new();
    site.write("empty.pem", "nothing here\n");
    site.write(
        "damaged.pem",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    );
    let (_, other) = site.issue("other");
    site.write("other.key", &other.serialize_pem());
    let with = |change: fn(&mut Config, PathBuf), file: &str| {
        let mut config = site.config();
        change(&mut config, site.path(file));
        config
    };
    let certificate = |config: &mut Config, path| config.certificate = path;
    let key = |config: &mut Config, path| config.key = path;
    let ca = |config: &mut Config, path| config.client_ca = path;
    check_refused(
        &with(certificate, "none.pem"),
        "none.pem",
        "broker.tls.certificate: ",
    );
    check_refused(
        &with(certificate, "empty.pem"),
        "empty.pem",
        "has no certificate in PEM form",
    );
    check_refused(
        &with(certificate, "damaged.pem"),
        "damaged.pem",
        "is damaged",
    );
    check_refused(
        &with(key, "server.pem"),
        "server.pem",
        "has no private key in PEM form",
    );
    check_refused(
        &with(key, "other.key"),
        "other.key",
        "does not go with the certificate",
    );
    check_refused(
        &with(ca, "empty.pem"),
        "empty.pem",
        "broker.tls.client_ca: ",
    );
    let without = Config {
        listen: "127.0.0.1:0".to_owned(),
        ..Config::default()
    };
    check_refused(&without, "", "broker.tls.certificate: no file is named");
    let required = Config {
        client_certificate_required: true,
        ..site.config()
    };
    check_refused(&required, "", "needs broker.tls.client_ca");
}

#[test]
fn an_empty_address_switches_a_listener_off() {
    let listen = |listen: &str| {
        Config {
            listen: listen.to_owned(),
            ..Config::default()
        }
        .address()
    };
    assert!(matches!(listen(""), Ok(None)));
    assert!(matches!(listen("127.0.0.1:5671"), Ok(Some(address)) if address.port() == 5671));
    assert!(listen("5671").is_err());
}

#[test]
fn the_section_reads_from_toml() {
    let config: Config = toml::from_str(
        r#"
        listen = "0.0.0.0:5671"
        certificate = "/etc/musterd/server.pem"
        key = "/etc/musterd/server.key"
        user_from = "common_name"
        "#,
    )
    .expect("well-formed");
    assert_eq!(config.user_from, UserFrom::CommonName);
    assert!(
        toml::from_str::<Config>("cert = \"x\"").is_err(),
        "an unknown key"
    );
}
