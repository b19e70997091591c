//! A certificate authority with its folder, clients that speak HTTP/1.1 over TLS, and a server of the test's own.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::daemon::Daemon;

/// Longer than anything here takes, however busy the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Names and times of a certificate.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) common_name: &'static str,
    pub(super) uri: Option<&'static str>,
    pub(super) serial: u64,
    pub(super) is_expired: bool,
}

/// A root with its folder: `root.pem`, `server.pem` and `server.key` for localhost and 127.0.0.1.
pub(super) struct Site {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Site {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "root");
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.path().join("root.pem"), pem).unwrap();
        let issuer = Issuer::new(params, key);
        let site = Self { folder, issuer };
        site.issue_server(1);
        site
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(super) fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Writes another pair of the server.
    pub(super) fn issue_server(&self, serial: u64) {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        self.write("server", params);
    }

    /// Writes `FILE.pem` and `FILE.key` of a client.
    pub(super) fn issue(&self, file: &str, wanted: &Wanted) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        let name = wanted.common_name;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(uri) = wanted.uri {
            let uri = uri.try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        if wanted.is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        self.write(file, params);
    }

    fn write(&self, file: &str, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        // The pair is replaced in two steps, as a user would do it.
        fs::write(self.path(&format!("{file}.pem")), pem).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// Writes `revoked.pem`.
    pub(super) fn revoke(&self, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        fs::write(self.path("revoked.pem"), pem).unwrap();
    }

    /// A daemon with the server's pair and this TOML besides; `http.listen` speaks TLS.
    pub(super) fn start(&self, toml: &str) -> Daemon {
        self.configure(toml);
        let config = self.text("musterd.toml");
        let off = ["--set", "broker.listen=", "--set", "transport.mode=direct"];
        Daemon::start(&[&["--config", &config][..], &off].concat())
    }

    /// Writes the configuration.
    pub(super) fn configure(&self, toml: &str) {
        let tls = format!(
            "[http.tls]\ncertificate = '{}'\nkey = '{}'\ncheck_every = '100ms'\n",
            self.text("server.pem"),
            self.text("server.key"),
        );
        fs::write(self.path("musterd.toml"), format!("{tls}{toml}")).unwrap();
    }

    /// The lines of `http.tls` that ask clients for certificates.
    pub(super) fn client_auth(&self, auth: &str) -> String {
        let root = self.text("root.pem");
        format!("client_auth = '{auth}'\nclient_ca = '{root}'\n")
    }

    /// A client that trusts the root, and shows the certificate of this file.
    pub(super) fn client(&self, certificate: Option<&str>) -> TlsConnector {
        let named = |key: &str, file: Option<String>| {
            let path = file.map(|file| self.path(&file));
            (key.to_owned(), path.unwrap_or_default())
        };
        let files = musterd::tls::ClientFiles {
            roots: named("ca", Some("root.pem".to_owned())),
            certificate: named("certificate", certificate.map(|name| format!("{name}.pem"))),
            key: named("key", certificate.map(|name| format!("{name}.key"))),
        };
        let config = files.read().unwrap().verifying().unwrap();
        TlsConnector::from(Arc::new(config))
    }
}

/// The address of a daemon.
pub(super) fn address(daemon: &Daemon) -> SocketAddr {
    let address = daemon.url.trim_start_matches("http://");
    address.parse().unwrap()
}

/// A connection that speaks HTTP/1.1.
pub(super) struct Connection {
    pub(super) stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(client: &TlsConnector, to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = client.connect(name, stream).await?;
        let read = Vec::new();
        Ok(Self { stream, read })
    }

    pub(super) async fn send(
        &mut self,
        (method, path): (&str, &str),
        token: Option<&str>,
        body: &Value,
    ) -> io::Result<()> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let token = token.map_or_else(String::new, |token| {
            format!("authorization: Bearer {token}\r\n")
        });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{token}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Reads until this text has come; what came before it is dropped.
    pub(super) async fn until(&mut self, text: &str) -> io::Result<Vec<u8>> {
        loop {
            let wanted = text.as_bytes();
            let found = self.read.windows(wanted.len()).position(|w| w == wanted);
            if let Some(at) = found {
                let rest = self.read.split_off(at + wanted.len());
                return Ok(std::mem::replace(&mut self.read, rest));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut piece));
        match read.await.map_err(|_| io::ErrorKind::TimedOut)?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.read.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }

    /// The code and the body of an answer with a length.
    pub(super) async fn answer(&mut self) -> io::Result<(u16, Value)> {
        let head = self.until("\r\n\r\n").await?;
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        while self.read.len() < length {
            self.more().await?;
        }
        let rest = self.read.split_off(length);
        let body = std::mem::replace(&mut self.read, rest);
        Ok((code, serde_json::from_slice(&body).unwrap_or_default()))
    }

    pub(super) async fn ask(
        &mut self,
        request: (&str, &str),
        token: Option<&str>,
        body: &Value,
    ) -> io::Result<(u16, Value)> {
        self.send(request, token, body).await?;
        self.answer().await
    }

    /// Waits until the server ends the connection, or an answer in chunks.
    pub(super) async fn ended(&mut self) {
        while !self.read.ends_with(b"\r\n0\r\n\r\n") && self.more().await.is_ok() {}
    }
}

/// One request on a connection of its own.
pub(super) async fn ask(
    client: &TlsConnector,
    daemon: &Daemon,
    request: (&str, &str),
    token: Option<&str>,
    body: &Value,
) -> io::Result<(u16, Value)> {
    let mut connection = Connection::open(client, address(daemon)).await?;
    connection.ask(request, token, body).await
}

/// A server with TLS that answers every request with the same body, as far as `answer` has one.
pub(super) struct Server {
    pub(super) at: SocketAddr,
    /// The heads and bodies of the requests that came.
    pub(super) requests: mpsc::Receiver<String>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(
        site: &Site,
        (host, asks_for_certificates): (&str, bool),
        answer: impl Fn() -> String + Clone + Send + Sync + 'static,
    ) -> Self {
        let files = musterd::tls::ServerFiles {
            section: "test",
            certificate: site.path("server.pem"),
            key: site.path("server.key"),
            clients: asks_for_certificates.then(|| musterd::tls::ClientRoots {
                roots: site.path("root.pem"),
                roots_key: "roots",
                revoked: PathBuf::new(),
                revoked_key: "revoked",
                is_required: true,
            }),
            min_version: musterd::tls::MinVersion::Tls12,
            protocols: &[],
        };
        let (config, _) = files.server().unwrap();
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (tx, requests) = mpsc::channel(1000);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, tx, answer) = (acceptor.clone(), tx.clone(), answer.clone());
                serving.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut request = vec![0; 64 * 1024];
                    let Ok(count) = stream.read(&mut request).await else {
                        return;
                    };
                    request.truncate(count);
                    let _ = tx.try_send(String::from_utf8_lossy(&request).into_owned());
                    let body = answer();
                    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
                    let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self {
            at,
            requests,
            _tasks: tasks,
        }
    }

    pub(super) async fn request(&mut self) -> String {
        let received = timeout(PATIENCE, self.requests.recv()).await;
        received.unwrap().unwrap()
    }
}
