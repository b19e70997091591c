//! A server's side: certificate, key and the roots of its clients.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use serde::Deserialize;

use super::{TlsError, names::end_of, pem::PemFile};

/// The lowest version of TLS that a server accepts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// How clients are verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientRoots {
    /// PEM file with the roots of client certificates.
    pub roots: PathBuf,
    /// The key that names it.
    pub roots_key: &'static str,
    /// PEM file with lists of revoked certificates; empty for none.
    pub revoked: PathBuf,
    /// The key that names it.
    pub revoked_key: &'static str,
    /// Whether a client without a certificate is refused.
    pub is_required: bool,
}

/// The files of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerFiles {
    /// The section of the configuration, such as `http.tls`.
    pub section: &'static str,
    /// PEM file with the server's certificate and the intermediate ones.
    pub certificate: PathBuf,
    /// PEM file with the certificate's key.
    pub key: PathBuf,
    /// How clients are verified; none asks them for no certificate.
    pub clients: Option<ClientRoots>,
    /// The lowest version.
    pub min_version: MinVersion,
    /// Names of protocols that the server offers (ALPN), the preferred first.
    pub protocols: &'static [&'static str],
}

/// The files of a server as they were read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerContents {
    certificate: PemFile,
    key: PemFile,
    roots: Option<PemFile>,
    revoked: Option<PemFile>,
}

/// What verifies clients.
pub(super) type ClientVerifier = Arc<dyn ClientCertVerifier>;

impl ServerFiles {
    /// Reads the files and joins them. Also when the server's certificate ends, in seconds since 1970.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn server(&self) -> Result<(Arc<ServerConfig>, u64), TlsError> {
        let contents = self.read()?;
        let (server, _) = self.join(&contents)?;
        let certificates = contents.certificate.certificates()?;
        let end = certificates.first().map_or(0, |own| end_of(own));
        Ok((server, end))
    }

    /// Whether a client without a certificate is refused.
    pub fn is_client_required(&self) -> bool {
        self.clients.as_ref().is_some_and(|one| one.is_required)
    }

    fn key_of(&self, key: &str) -> String {
        format!("{}.{key}", self.section)
    }

    pub(super) fn read(&self) -> Result<ServerContents, TlsError> {
        let file = |key: &str, path| PemFile::read(self.key_of(key), path);
        let certificate = file("certificate", &self.certificate)?;
        let key = file("key", &self.key)?;
        let (mut roots, mut revoked) = (None, None);
        if let Some(clients) = &self.clients {
            roots = Some(file(clients.roots_key, &clients.roots)?);
            if !clients.revoked.as_os_str().is_empty() {
                revoked = Some(file(clients.revoked_key, &clients.revoked)?);
            }
        }
        Ok(ServerContents {
            certificate,
            key,
            roots,
            revoked,
        })
    }

    /// A configuration of these contents, with what verifies its clients.
    pub(super) fn join(
        &self,
        contents: &ServerContents,
    ) -> Result<(Arc<ServerConfig>, Option<ClientVerifier>), TlsError> {
        let certificate = contents.certificate.certificates()?;
        let key = contents.key.private_key()?;
        let provider = Arc::new(ring::default_provider());
        let verifier = match &contents.roots {
            None => None,
            Some(roots) => Some(self.verifier(roots, contents.revoked.as_ref(), &provider)?),
        };
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(self.min_version.versions())
            .map_err(TlsError::Setup)?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder
            .with_single_cert(certificate, key)
            .map_err(|source| TlsError::NoPair {
                key: contents.key.key(),
                path: contents.key.path(),
                certificate: contents.certificate.path(),
                source: Box::new(source),
            })?;
        let protocols = self.protocols.iter();
        server.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        Ok((Arc::new(server), verifier))
    }

    /// Every list of revoked certificates applies to the certificates of its issuer, whatever its next update says. A
    /// certificate of an issuer without a list is not revoked.
    fn verifier(
        &self,
        roots_file: &PemFile,
        revoked: Option<&PemFile>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ClientVerifier, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        roots_file.add_roots(&mut roots)?;
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match revoked {
            None => builder,
            Some(revoked) => builder
                .with_crls(revoked.revocations()?)
                .allow_unknown_revocation_status(),
        };
        let builder = match self.is_client_required() {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        let of = revoked.unwrap_or(roots_file);
        builder.build().map_err(|source| TlsError::Verifier {
            key: of.key(),
            path: of.path(),
            source: Box::new(source),
        })
    }
}
