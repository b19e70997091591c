//! The encrypted door with a client library: amqps, and EXTERNAL by certificate.

use std::fs;
use std::path::Path;
use std::process::Command;

use musterd::broker::auth::config::{PermissionConfig, UserConfig, Users};
use musterd::broker::tls::UserFrom;
use musterd::broker::{Broker, Config};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::clients::from_setup;

/// A root, a server's certificate and those of two clients below it, and a client's that nobody vouches for.
fn write_certificates(folder: &Path) {
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

#[tokio::test]
async fn pika_comes_in_by_password_and_by_certificate() {
    let folder = tempfile::tempdir().unwrap();
    write_certificates(folder.path());
    let listening = Broker::bind(configuration(folder.path())).await.unwrap();
    let port = listening.tls_address().unwrap().port();
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(listening.serve(stop.clone()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/amqp/clients/tls.py");
    let mut command = Command::new(from_setup("python/bin/python"));
    command.arg(script).arg(port.to_string()).arg(folder.path());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = ran.await.unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && stdout.ends_with("ok\n"),
        "steps done:\n{stdout}\n{stderr}"
    );
    stop.cancel();
    tasks.close();
    tasks.wait().await;
}
