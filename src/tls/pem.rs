//! Files in PEM form.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem, pem::PemObject},
};

use super::TlsError;

/// A file as it was read, with the key that names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PemFile {
    key: String,
    path: PathBuf,
    text: Vec<u8>,
}

impl PemFile {
    /// Reads it.
    pub(super) fn read(key: String, path: &Path) -> Result<Self, TlsError> {
        if path.as_os_str().is_empty() {
            return Err(TlsError::Missing(key));
        }
        match fs::read(path) {
            Ok(text) => Ok(Self {
                key,
                path: path.to_owned(),
                text,
            }),
            Err(source) => Err(TlsError::Unreadable {
                key,
                path: path.to_owned(),
                source,
            }),
        }
    }

    pub(super) fn key(&self) -> String {
        self.key.clone()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn damaged(&self, source: pem::Error) -> TlsError {
        TlsError::Damaged {
            key: self.key(),
            path: self.path(),
            source,
        }
    }

    fn empty(&self, expected: &'static str) -> TlsError {
        TlsError::Empty {
            key: self.key(),
            path: self.path(),
            expected,
        }
    }

    fn all<T: PemObject>(&self, expected: &'static str) -> Result<Vec<T>, TlsError> {
        let all: Result<Vec<_>, _> = T::pem_slice_iter(&self.text).collect();
        match all {
            Err(source) => Err(self.damaged(source)),
            Ok(all) if all.is_empty() => Err(self.empty(expected)),
            Ok(all) => Ok(all),
        }
    }

    /// Every certificate; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        self.all("certificate")
    }

    /// Every list of revoked certificates; at least one.
    pub(super) fn revocations(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        self.all("certificate revocation list")
    }

    /// The private key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|source| match source {
            pem::Error::NoItemsFound => self.empty("private key"),
            source => self.damaged(source),
        })
    }

    /// Adds every certificate as a root.
    pub(super) fn add_roots(&self, roots: &mut RootCertStore) -> Result<(), TlsError> {
        for root in self.certificates()? {
            roots.add(root).map_err(|source| TlsError::Root {
                key: self.key(),
                path: self.path(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}
