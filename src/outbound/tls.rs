//! TLS to a peer: verified against the public roots, or not verified if the check says so.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{error::OutboundError, stream::Stream};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Whether and how TLS is used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Verification {
    Plain,
    Verified,
    /// TLS without verification of the certificate.
    Unverified,
}

/// TLS configurations, made on first use: most daemons probe no HTTPS, and the public roots and the
/// session caches need memory.
#[derive(Debug)]
pub(super) struct Tls {
    /// Roots that are trusted in addition to the public ones.
    added: RootCertStore,
    verified: [OnceLock<Arc<ClientConfig>>; 2],
    unverified: [OnceLock<Arc<ClientConfig>>; 2],
}

impl Tls {
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, OutboundError> {
        let mut added = RootCertStore::empty();
        if let Some(path) = ca_file {
            add(path, &mut added)?;
        }
        Ok(Self {
            added,
            verified: Default::default(),
            unverified: Default::default(),
        })
    }

    /// Does the TLS handshake, or returns a plain connection as it is.
    pub(super) async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
        verification: Verification,
        protocol: Protocol,
    ) -> Result<Stream, OutboundError> {
        let failed = |source| OutboundError::Tls {
            host: host.into(),
            source,
        };
        let config = match verification {
            Verification::Plain => return Ok(Stream::Plain(stream)),
            Verification::Verified => made(&self.verified, protocol, || self.verified(protocol)),
            Verification::Unverified => made(&self.unverified, protocol, || unverified(protocol)),
        };
        let config = config.map_err(|error| failed(std::io::Error::other(error)))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn verified(&self, protocol: Protocol) -> Result<ClientConfig, rustls::Error> {
        let mut roots = self.added.clone();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(with_protocol(config, protocol))
    }
}

/// The configuration of a protocol; made by `make` on first use.
fn made(
    configs: &[OnceLock<Arc<ClientConfig>>; 2],
    protocol: Protocol,
    make: impl FnOnce() -> Result<ClientConfig, rustls::Error>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = match protocol {
        Protocol::Http1 => &configs[0],
        Protocol::Http2 => &configs[1],
    };
    if let Some(config) = config.get() {
        return Ok(Arc::clone(config));
    }
    let new = Arc::new(make()?);
    Ok(Arc::clone(config.get_or_init(|| new)))
}

fn add(path: &Path, roots: &mut RootCertStore) -> Result<(), OutboundError> {
    let unusable = |why: String| OutboundError::CaFile {
        path: path.display().to_string().into(),
        why: why.into(),
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    let mut added = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
        added += 1;
    }
    if added == 0 {
        return Err(unusable("it holds no certificate in PEM form".to_owned()));
    }
    Ok(())
}

fn unverified(protocol: Protocol) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    Ok(with_protocol(config, protocol))
}

fn with_protocol(mut config: ClientConfig, protocol: Protocol) -> ClientConfig {
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    config
}

/// Accepts any certificate, but verifies that the peer has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
