//! The encrypted door with a client library: amqps, and EXTERNAL by certificate.

use std::fs;
use std::path::Path;
use std::process::Command;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use musterd::broker::auth::Mechanism;
use musterd::broker::auth::config::{PermissionConfig, UserConfig, Users};
use musterd::broker::tls::UserFrom;
use musterd::broker::{Broker, Config};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::clients::{from_setup, script};
use crate::scripts::ends_with_ok;

/// A root, a server's certificate and those of two clients below it, and a client's that nobody vouches for.
pub(crate) fn write_certificates(folder: &Path) {
    let root = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        (Issuer::new(params, key), pem)
    };
    let (trusted, pem) = root("root");
    let (stranger, _) = root("stranger");
    fs::write(folder.join("root.pem"), pem).unwrap();
    let issue = |file: &str, name: &str, by: &Issuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, by).unwrap();
        fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    };
    issue("server", "localhost", &trusted);
    issue("orders", "orders", &trusted);
    issue("unknown", "unknown", &trusted);
    issue("forged", "orders", &stranger);
}

fn configuration(folder: &Path) -> Config {
    let orders = UserConfig {
        permissions: [("/".to_owned(), PermissionConfig::all())].into(),
        ..UserConfig::default()
    };
    let mut config = Config {
        listen: String::new(),
        users: Users::from([("orders".to_owned(), orders)]),
        ..Config::default()
    };
    config.tls.listen = "127.0.0.1:0".to_owned();
    config.tls.certificate = folder.join("server.pem");
    config.tls.key = folder.join("server.key");
    config.tls.client_ca = folder.join("root.pem");
    config.tls.user_from = UserFrom::CommonName;
    config
}

/// The encrypted door of a broker of the test's own.
struct Door {
    folder: TempDir,
    config: Config,
    broker: Broker,
    port: u16,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Door {
    async fn open() -> Self {
        Self::listing(Config::default().auth_mechanisms).await
    }

    /// One that takes logins in these ways only.
    async fn listing(auth_mechanisms: Vec<Mechanism>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        let config = Config {
            auth_mechanisms,
            ..configuration(folder.path())
        };
        let listening = Broker::bind(config.clone()).await.unwrap();
        let broker = listening.broker();
        let port = listening.tls_address().unwrap().port();
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(listening.serve(stop.clone()));
        Self {
            folder,
            config,
            broker,
            port,
            stop,
            tasks,
        }
    }

    async fn shut(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    /// With lapin, by this part of a URL between the scheme and the host.
    async fn lapin(
        &self,
        login: &str,
        query: &str,
        certificate: Option<&str>,
    ) -> lapin::Result<Connection> {
        let identity = certificate.map(|name| OwnedIdentity::PKCS8 {
            pem: self.read(&format!("{name}.pem")).into_bytes(),
            key: self.read(&format!("{name}.key")).into_bytes(),
        });
        let tls = OwnedTLSConfig {
            identity,
            cert_chain: Some(self.read("root.pem")),
        };
        let url = format!("amqps://{login}@localhost:{}/%2f{query}", self.port);
        let properties = ConnectionProperties::default();
        let runtime = lapin::runtime::default_runtime().unwrap();
        Connection::connect_with_config(&url, properties, tls, runtime).await
    }
}

#[tokio::test]
async fn pika_logs_in_by_password_and_by_certificate() {
    let door = Door::open().await;
    let mut command = Command::new(from_setup("python/bin/python"));
    command.arg(script("tls.py")).arg(door.port.to_string());
    command.arg(door.folder.path());
    let ran = tokio::task::spawn_blocking(move || ends_with_ok(&mut command));
    ran.await.unwrap();
    door.shut().await;
}

/// Bodies of many sizes go through, more than one TLS record and more than one frame among them.
async fn works(connection: lapin::Result<Connection>) {
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let queue = declared.await.unwrap().name().clone();
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    for size in [0, 1, 16_383, 16_384, 131_064, 131_065, 3_000_000] {
        let body = vec![b'x'; size];
        let sent = channel.basic_publish(
            "".into(),
            queue.clone(),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default(),
        );
        assert!(matches!(
            sent.await.unwrap().await.unwrap(),
            Confirmation::Ack(None)
        ));
        let got = channel.basic_get(queue.clone(), BasicGetOptions { no_ack: true });
        assert!(got.await.unwrap().unwrap().data == body, "{size}");
    }
    connection.close(200, "OK".into()).await.unwrap();
}

#[tokio::test]
async fn lapin_logs_in_by_password_and_by_certificate() {
    let door = Door::open().await;
    works(door.lapin("guest:guest", "", None).await).await;
    works(door.lapin("guest:guest", "", Some("orders")).await).await;
    let external = "?auth_mechanism=external";
    works(door.lapin("orders:", external, Some("orders")).await).await;
    let refused = [
        ("guest:wrong", "", None, "ACCESS_REFUSED"),
        ("unknown:", external, Some("unknown"), "ACCESS_REFUSED"),
        (
            "orders:",
            external,
            None,
            "needs a TLS connection with a client certificate",
        ),
    ];
    for (login, query, certificate, reason) in refused {
        let error = door.lapin(login, query, certificate).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{login}: {error}");
    }
    let forged = door.lapin("orders:", external, Some("forged")).await;
    assert!(forged.unwrap_err().is_io_error(), "nobody vouches for it");
    door.shut().await;
}

#[tokio::test]
async fn a_reload_reads_certificate_files_of_the_same_name_again() {
    let door = Door::open().await;
    works(door.lapin("guest:guest", "", None).await).await;
    // Another root, so the certificate that the server still shows is not trusted.
    write_certificates(door.folder.path());
    let refused = door.lapin("guest:guest", "", None).await;
    assert!(refused.unwrap_err().is_io_error());
    door.broker.reload(&door.config).unwrap();
    works(door.lapin("guest:guest", "", None).await).await;
    door.shut().await;
}

#[tokio::test]
async fn a_certificate_can_be_the_only_way_in_or_none() {
    let external = "?auth_mechanism=external";
    let unknown = "unknown authentication mechanism";
    let door = Door::listing(vec![Mechanism::External]).await;
    works(door.lapin("orders:", external, Some("orders")).await).await;
    for certificate in [None, Some("orders")] {
        let refused = door.lapin("guest:guest", "", certificate).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(unknown), "{error}");
    }
    door.shut().await;
    let door = Door::listing(vec![Mechanism::Plain]).await;
    works(door.lapin("guest:guest", "", Some("orders")).await).await;
    let refused = door.lapin("orders:", external, Some("orders")).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains(unknown), "{error}");
    door.shut().await;
}
