//! A client's certificate: its names, and whether it is still valid.

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::subject;

/// The names in a certificate that can be those of an identity. Whether it is trusted was decided before.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CertificateNames {
    /// The common name, when the subject has exactly one.
    pub common_name: Option<String>,
    /// The DNS names of the subject alternative name.
    pub dns: Vec<String>,
    /// Its URIs, such as a SPIFFE id.
    pub uris: Vec<String>,
}

/// The names of a certificate.
pub fn names_of(certificate: &[u8]) -> CertificateNames {
    let mut names = CertificateNames {
        common_name: subject::common_name(certificate),
        ..CertificateNames::default()
    };
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return names;
    };
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else {
        return names;
    };
    for name in &alternative.value.general_names {
        match name {
            GeneralName::DNSName(name) => names.dns.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
            _ => (),
        }
    }
    names
}

/// The whole subject of a certificate, `CN=orders,O=Example`.
pub fn distinguished_name_of(certificate: &[u8]) -> Option<String> {
    subject::distinguished_name(certificate)
}

/// When a certificate ends, in seconds since 1970; at once when that cannot be read.
pub(super) fn end_of(certificate: &[u8]) -> u64 {
    let parsed = parse_x509_certificate(certificate);
    let end = parsed.map_or(0, |(_, one)| one.validity().not_after.timestamp());
    u64::try_from(end).unwrap_or(0)
}

/// The certificate that a client has shown and proven to have the key of.
#[derive(Debug)]
pub struct ClientCertificate {
    /// Its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    names: CertificateNames,
    /// In seconds since 1970.
    pub(super) not_after: u64,
    pub(super) ended: CancellationToken,
}

impl ClientCertificate {
    /// None for an empty chain.
    pub(super) fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let first = chain.first()?;
        Some(Self {
            names: names_of(first),
            not_after: end_of(first),
            chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
            ended: CancellationToken::new(),
        })
    }

    /// Its names.
    pub fn names(&self) -> &CertificateNames {
        &self.names
    }

    /// Whether it is neither expired nor revoked, and its root is trusted.
    pub fn is_valid(&self) -> bool {
        !self.ended.is_cancelled()
    }

    /// Returns when it is not valid any more. Cancel safe.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

#[cfg(test)]
mod tests;
