//! TLS for amqps: certificate files in, a configuration for rustls out, and the user that a
//! client's certificate names.

mod subject;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use serde::Deserialize;

use super::config::address;

/// Section `broker.tls`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of the TLS listener, usually port 5671; empty: none.
    pub listen: String,
    /// PEM file with the server's certificate and the intermediate certificates.
    pub certificate: PathBuf,
    /// PEM file with the certificate's key.
    pub key: PathBuf,
    /// PEM file with the roots of client certificates; empty asks clients for none.
    pub client_ca: PathBuf,
    /// Whether a client without a certificate is refused.
    pub client_certificate_required: bool,
    /// Which part of a client's certificate is the user's name for EXTERNAL.
    pub user_from: UserFrom,
}

/// Which part of a client's certificate names the user.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum UserFrom {
    /// The whole subject, `CN=orders,O=Example`.
    #[default]
    DistinguishedName,
    /// Its common name, when it has exactly one.
    CommonName,
}

/// The faults of the section, by key and file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The address cannot be read.
    #[error("broker.tls.listen: \"{0}\" is not an address and port, such as \"0.0.0.0:5671\"")]
    Listen(String, #[source] io::Error),
    /// A file is needed that is not named.
    #[error("broker.tls.{0}: no file is named, but broker.tls.listen is set")]
    Missing(&'static str),
    /// A file cannot be read.
    #[error("broker.tls.{key}: \"{path}\" cannot be read")]
    Unreadable {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("broker.tls.{key}: \"{path}\" has no {expected} in PEM form")]
    Empty {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
    },
    /// A file is damaged.
    #[error("broker.tls.{key}: \"{path}\" is damaged: {source}")]
    Damaged {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Where.
        source: pem::Error,
    },
    /// Certificate and key are not a pair.
    #[error("broker.tls.key: \"{key}\" does not go with the certificate in \"{certificate}\"")]
    NoPair {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A root that cannot be used.
    #[error("broker.tls.client_ca: \"{path}\" has a certificate that cannot be a root")]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Clients cannot be verified with these roots.
    #[error("broker.tls.client_ca: \"{path}\" cannot verify clients")]
    Verifier {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// Client certificates are required, but there are no roots to check them.
    #[error("broker.tls.client_certificate_required: needs broker.tls.client_ca")]
    NoRoots,
    /// The cryptography offers no version of TLS.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl Config {
    /// The address of the TLS listener, if there is one.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn address(&self) -> Result<Option<SocketAddr>, TlsError> {
        address(&self.listen).map_err(|error| TlsError::Listen(self.listen.clone(), error))
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let certificate = certificates("certificate", &self.certificate)?;
        let key = private_key(&self.key)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let server = builder
            .with_single_cert(certificate, key)
            .map_err(|source| TlsError::NoPair {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
                source,
            })?;
        Ok(Arc::new(server))
    }

    fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let path = &self.client_ca;
        if path.as_os_str().is_empty() {
            return match self.client_certificate_required {
                true => Err(TlsError::NoRoots),
                false => Ok(None),
            };
        }
        let mut roots = RootCertStore::empty();
        for root in certificates("client_ca", path)? {
            roots.add(root).map_err(|source| TlsError::Root {
                path: path.clone(),
                source,
            })?;
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match self.client_certificate_required {
            true => builder,
            false => builder.allow_unauthenticated(),
        };
        let verifier = builder.build();
        verifier.map(Some).map_err(|source| TlsError::Verifier {
            path: path.clone(),
            source,
        })
    }
}

/// The user that a client's certificate names: the first of the chain that rustls has verified.
#[must_use]
pub fn user_of(chain: Option<&[CertificateDer<'_>]>, from: UserFrom) -> Option<String> {
    let certificate = chain?.first()?;
    match from {
        UserFrom::DistinguishedName => subject::distinguished_name(certificate),
        UserFrom::CommonName => subject::common_name(certificate),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    if path.as_os_str().is_empty() {
        return Err(TlsError::Missing(key));
    }
    fs::read(path).map_err(|source| TlsError::Unreadable {
        key,
        path: path.to_owned(),
        source,
    })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let all = all.map_err(|source| TlsError::Damaged {
        key,
        path: path.to_owned(),
        source,
    })?;
    if all.is_empty() {
        return Err(TlsError::Empty {
            key,
            path: path.to_owned(),
            expected: "certificate",
        });
    }
    Ok(all)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = "key";
    let text = read(key, path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Empty {
            key,
            path: path.to_owned(),
            expected: "private key",
        },
        source => TlsError::Damaged {
            key,
            path: path.to_owned(),
            source,
        },
    })
}

#[cfg(test)]
mod tests;
