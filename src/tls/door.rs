//! TLS of a listener whose files can be replaced while it is served. Connections that are open stay open, unless the
//! certificate of their client is not valid any more.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{ServerConfig, pki_types::UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    ClientCertificate, ServerFiles, TlsError,
    server::{ClientVerifier, ServerContents},
};

/// TLS of one or more listeners, as a cheap handle.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerTlsState>);

#[derive(Debug)]
struct ServerTlsState {
    current: ArcSwap<TlsReplacement>,
    handshake_max: Duration,
    /// The certificates of clients that are connected, and of some that were.
    clients: Mutex<Vec<Weak<ClientCertificate>>>,
}

/// Files that were read and can be used.
#[derive(Debug)]
pub struct TlsReplacement {
    files: ServerFiles,
    contents: ServerContents,
    server: Arc<ServerConfig>,
    verifier: Option<ClientVerifier>,
}

impl TlsReplacement {
    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn read(files: ServerFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        Self::of(files, contents)
    }

    fn of(files: ServerFiles, contents: ServerContents) -> Result<Self, TlsError> {
        let (server, verifier) = files.join(&contents)?;
        Ok(Self {
            files,
            contents,
            server,
            verifier,
        })
    }

    /// Whether a client without a certificate is refused.
    pub fn is_client_required(&self) -> bool {
        self.files.is_client_required()
    }

    /// Whether a client's certificate is valid now.
    fn trusts(&self, client: &ClientCertificate) -> bool {
        let (Some(verifier), Some((own, others))) = (&self.verifier, client.chain.split_first())
        else {
            return false;
        };
        let verified = verifier.verify_client_cert(own, others, UnixTime::now());
        verified.is_ok()
    }
}

/// An encrypted connection, with the certificate of its client if there is one.
#[derive(Debug)]
pub struct AcceptedTls<I> {
    /// The connection.
    pub stream: Box<TlsStream<I>>,
    /// The client's certificate.
    pub client: Option<Arc<ClientCertificate>>,
    /// Whether both sides agreed on HTTP/2 (ALPN `h2`).
    pub is_http2: bool,
}

impl ServerTls {
    /// Reads the files. A handshake may take `handshake_max`.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(files: ServerFiles, handshake_max: Duration) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(TlsReplacement::read(files)?);
        Ok(Self(Arc::new(ServerTlsState {
            current,
            handshake_max,
            clients: Mutex::default(),
        })))
    }

    /// Whether a client without a certificate is refused.
    pub fn is_client_required(&self) -> bool {
        self.0.current.load().is_client_required()
    }

    /// Takes other files into use, and ends what clients do whose certificates they do not trust.
    pub fn replace(&self, replacement: TlsReplacement) {
        self.0.current.store(Arc::new(replacement));
        let current = self.0.current.load_full();
        self.end_where(|client| !current.trusts(client));
    }

    /// Reads the files again, and takes them into use if they have changed: whether they have. To be called where it
    /// may wait for the disk.
    ///
    /// # Errors
    /// They cannot be used; the ones before stay in use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let current = self.0.current.load_full();
        let contents = current.files.read()?;
        if contents == current.contents {
            return Ok(false);
        }
        self.replace(TlsReplacement::of(current.files.clone(), contents)?);
        Ok(true)
    }

    /// Ends what clients do whose certificates are expired. To be called about once in a second.
    pub fn end_expired(&self) {
        let now = UnixTime::now().as_secs();
        self.end_where(|client| client.not_after < now);
    }

    fn end_where(&self, is_over: impl Fn(&ClientCertificate) -> bool) {
        let clients: Vec<_> = {
            let mut clients = self.0.clients.lock();
            clients.retain(|client| client.strong_count() > 0);
            clients.iter().filter_map(Weak::upgrade).collect()
        };
        for client in clients {
            if is_over(&client) {
                client.ended.cancel();
            }
        }
    }

    /// The server's part of a handshake.
    ///
    /// # Errors
    /// It fails, or takes too long.
    pub async fn accept<I>(&self, stream: I) -> io::Result<AcceptedTls<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let current = self.0.current.load_full();
        let acceptor = TlsAcceptor::from(Arc::clone(&current.server));
        let accepted = timeout(self.0.handshake_max, acceptor.accept(stream)).await;
        let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (_, connection) = stream.get_ref();
        let is_http2 = connection.alpn_protocol() == Some(b"h2");
        let chain = connection.peer_certificates().unwrap_or_default();
        let client = ClientCertificate::new(chain).map(Arc::new);
        if let Some(client) = &client {
            self.0.clients.lock().push(Arc::downgrade(client));
            self.check_again(&current, client)?;
        }
        Ok(AcceptedTls {
            stream: Box::new(stream),
            client,
            is_http2,
        })
    }

    /// A resumed session is not verified again, and other files may be in use since the handshake began.
    fn check_again(
        &self,
        verified_by: &Arc<TlsReplacement>,
        client: &ClientCertificate,
    ) -> io::Result<()> {
        let current = self.0.current.load();
        let is_same = Arc::ptr_eq(verified_by, &current);
        let is_expired = client.not_after < UnixTime::now().as_secs();
        if is_expired || (!is_same && !current.trusts(client)) {
            let why = "the client's certificate is not valid any more";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
