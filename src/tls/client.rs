//! A client's side: the roots that it trusts, and a certificate of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};

use super::{TlsError, pem::PemFile};

/// The files of a client; an empty path means none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientFiles {
    /// PEM file with roots that are trusted besides the public ones, and the key that names it.
    pub roots: (String, PathBuf),
    /// PEM file with the client's certificate and the intermediate ones, and the key that names it.
    pub certificate: (String, PathBuf),
    /// PEM file with the certificate's key, and the key that names it.
    pub key: (String, PathBuf),
}

/// What a client trusts and shows, as it was read.
#[derive(Debug)]
pub struct TrustedRoots {
    /// Roots besides the public ones.
    roots: RootCertStore,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl ClientFiles {
    /// Reads the files that are named.
    ///
    /// # Errors
    /// The first file that cannot be used, or a certificate without a key.
    pub fn read(&self) -> Result<TrustedRoots, TlsError> {
        let is_named = |(_, path): &(String, PathBuf)| !path.as_os_str().is_empty();
        let file = |(key, path): &(String, PathBuf)| PemFile::read(key.clone(), path);
        let mut roots = RootCertStore::empty();
        if is_named(&self.roots) {
            file(&self.roots)?.add_roots(&mut roots)?;
        }
        let certificate = match (is_named(&self.certificate), is_named(&self.key)) {
            (false, false) => None,
            (true, false) => return Err(needs(&self.certificate.0, &self.key.0)),
            (false, true) => return Err(needs(&self.key.0, &self.certificate.0)),
            (true, true) => {
                let (certificate, key) = (file(&self.certificate)?, file(&self.key)?);
                let pair = (certificate.certificates()?, key.private_key()?);
                check_pair(&pair, &key, &certificate)?;
                Some(pair)
            }
        };
        Ok(TrustedRoots { roots, certificate })
    }
}

fn needs(key: &str, other: &str) -> TlsError {
    TlsError::Needs {
        key: key.to_owned(),
        needs: other.to_owned(),
    }
}

fn check_pair(
    (certificate, key): &(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    key_file: &PemFile,
    certificate_file: &PemFile,
) -> Result<(), TlsError> {
    let joined = builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_client_auth_cert(certificate.clone(), key.clone_key());
    joined.map(drop).map_err(|source| TlsError::NoPair {
        key: key_file.key(),
        path: key_file.path(),
        certificate: certificate_file.path(),
        source: Box::new(source),
    })
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)
}

impl TrustedRoots {
    /// A client that verifies a server's certificate and name against these roots and the public ones.
    ///
    /// # Errors
    /// The certificate and its key cannot be used.
    pub fn verifying(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = self.roots.clone();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        self.showing(builder()?.with_root_certificates(roots))
    }

    /// A client with another way to verify servers.
    ///
    /// # Errors
    /// The certificate and its key cannot be used.
    pub fn verifying_by(
        &self,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<ClientConfig, TlsError> {
        let builder = builder()?.dangerous();
        self.showing(builder.with_custom_certificate_verifier(verifier))
    }

    fn showing(
        &self,
        builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    ) -> Result<ClientConfig, TlsError> {
        match &self.certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificate.clone(), key.clone_key())
                .map_err(TlsError::Setup),
        }
    }
}

/// A verifier that trusts each server, whatever its certificate says. The server must have the certificate's key.
pub fn trusting() -> Arc<dyn ServerCertVerifier> {
    Arc::new(PinnedCertificate {
        only: None,
        provider: ring::default_provider(),
    })
}

/// A verifier that trusts the server with the first certificate of this file, whatever its name.
///
/// # Errors
/// The file cannot be used.
pub fn exactly(key: &str, path: &Path) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let certificates = PemFile::read(key.to_owned(), path)?.certificates()?;
    Ok(Arc::new(PinnedCertificate {
        only: certificates.into_iter().next(),
        provider: ring::default_provider(),
    }))
}

/// Accepts one certificate, or each, but verifies that the peer has its key.
#[derive(Debug)]
pub struct PinnedCertificate {
    only: Option<CertificateDer<'static>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.only.as_ref().is_some_and(|only| only != end_entity) {
            let other = rustls::CertificateError::ApplicationVerificationFailure;
            return Err(other.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
