//! TLS for amqps: the section of the configuration, and the user that a client's certificate names.

use std::{io, net::SocketAddr, path::PathBuf};

use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::config::address;
use crate::tls::{ClientRoots, MinVersion, ServerFiles, TlsError, distinguished_name_of, names_of};

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

impl Config {
    /// The address of the TLS listener, if there is one.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        address(&self.listen)
    }

    /// The files of the listener.
    ///
    /// # Errors
    /// Clients must have certificates, but there are no roots to check them.
    pub fn files(&self) -> Result<ServerFiles, TlsError> {
        let has_roots = !self.client_ca.as_os_str().is_empty();
        if self.client_certificate_required && !has_roots {
            return Err(TlsError::Needs {
                key: "broker.tls.client_certificate_required".to_owned(),
                needs: "broker.tls.client_ca".to_owned(),
            });
        }
        Ok(ServerFiles {
            section: "broker.tls",
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            clients: has_roots.then(|| ClientRoots {
                roots: self.client_ca.clone(),
                roots_key: "client_ca",
                revoked: PathBuf::new(),
                revoked_key: "client_crl",
                is_required: self.client_certificate_required,
            }),
            min_version: MinVersion::Tls12,
            protocols: &[],
        })
    }
}

/// The user that a client's certificate names: the first of the chain that rustls has verified.
#[must_use]
pub fn user_of(chain: Option<&[CertificateDer<'_>]>, from: UserFrom) -> Option<String> {
    let certificate = chain?.first()?;
    match from {
        UserFrom::DistinguishedName => distinguished_name_of(certificate),
        UserFrom::CommonName => names_of(certificate).common_name,
    }
}

#[cfg(test)]
mod tests;
