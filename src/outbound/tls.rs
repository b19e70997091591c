//! TLS to a peer: verified against the public roots and those of `outbound.tls.ca`, or not verified if the check says
//! so.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, pki_types::ServerName};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{error::OutboundError, stream::Stream};
use crate::tls::{ClientFiles, TlsError, TrustedRoots, trusting};

/// Section `outbound.tls`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A PEM file of certificates that are trusted in addition to the public ones; empty for none.
    pub ca: PathBuf,
    /// A PEM file with the certificate that servers get that ask for one; empty for none.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub key: PathBuf,
}

impl Config {
    fn files(&self) -> ClientFiles {
        let named = |key: &str, path: &PathBuf| (format!("outbound.tls.{key}"), path.clone());
        ClientFiles {
            roots: named("ca", &self.ca),
            certificate: named("certificate", &self.certificate),
            key: named("key", &self.key),
        }
    }
}

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
    trusted: TrustedRoots,
    verified: [OnceLock<Arc<ClientConfig>>; 2],
    unverified: [OnceLock<Arc<ClientConfig>>; 2],
}

impl Tls {
    pub(super) fn new(config: &Config) -> Result<Self, TlsError> {
        Ok(Self {
            trusted: config.files().read()?,
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
        let trusted = &self.trusted;
        let config = match verification {
            Verification::Plain => return Ok(Stream::Plain(stream)),
            Verification::Verified => made(&self.verified, protocol, || trusted.verifying()),
            Verification::Unverified => made(&self.unverified, protocol, || {
                trusted.verifying_by(trusting())
            }),
        };
        let config = config.map_err(|error| failed(std::io::Error::other(error)))?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let connector = TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// The configuration of a protocol; made by `make` on first use.
fn made(
    configs: &[OnceLock<Arc<ClientConfig>>; 2],
    protocol: Protocol,
    make: impl FnOnce() -> Result<ClientConfig, TlsError>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let (config, name) = match protocol {
        Protocol::Http1 => (&configs[0], "http/1.1"),
        Protocol::Http2 => (&configs[1], "h2"),
    };
    if let Some(config) = config.get() {
        return Ok(Arc::clone(config));
    }
    let mut new = make()?;
    new.alpn_protocols = vec![name.as_bytes().to_vec()];
    Ok(Arc::clone(config.get_or_init(|| Arc::new(new))))
}
