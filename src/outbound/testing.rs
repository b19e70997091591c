//! Targets for tests: servers on a free port of the loopback address with the behaviour that a test asks for.

pub(crate) mod grpc;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A server that ends with the test.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) at: SocketAddr,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Target {
    /// Calls `serve` with each connection and its number, from 1.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                serving.spawn(serve(stream, number));
            }
        });
        Self {
            at,
            connections,
            _tasks: tasks,
        }
    }

    /// Answers the first request of each connection with these bytes, and closes it.
    pub(crate) async fn saying(answer: &'static [u8]) -> Self {
        Self::start(move |mut stream, _| async move {
            if request(&mut stream).await.is_some() {
                let _ = stream.write_all(answer).await;
            }
        })
        .await
    }

    /// Answers every request with a code and an empty body, and keeps connections open.
    pub(crate) async fn always(code: u16) -> Self {
        Self::start(move |mut stream, _| async move {
            while request(&mut stream).await.is_some() {
                let answer = format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// Takes connections and never says a word.
    pub(crate) async fn silent() -> Self {
        Self::start(|mut stream, _| async move {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        })
        .await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// How many connections were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads the head of a request; none when the peer closed.
pub(crate) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Closes a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("an open socket");
    drop(stream);
}

/// An address without a listener.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address")
}

/// A self-signed certificate for `localhost`, in PEM, and a server that uses it.
pub(crate) fn certified(protocol: &[u8]) -> (String, TlsAcceptor) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let own = own.expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], PrivateKeyDer::from(key))
        .expect("a key that fits");
    config.alpn_protocols = vec![protocol.to_vec()];
    (own.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Shakes hands; none when the client does not like the certificate.
pub(crate) async fn guarded(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    acceptor.accept(stream).await.ok()
}
