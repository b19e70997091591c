//! What is wrong with the files of a TLS section, by key and file.

use std::{io, path::PathBuf};

use rustls::{pki_types::pem, server::VerifierBuilderError};

/// A file of a TLS section that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is needed that is not named.
    #[error("{0}: no file is named, but TLS is switched on")]
    Missing(String),
    /// A file cannot be read.
    #[error("{key}: \"{path}\" cannot be read")]
    Unreadable {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{key}: \"{path}\" has no {expected} in PEM form")]
    Empty {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
    },
    /// A file is damaged.
    #[error("{key}: \"{path}\" is damaged: {source}")]
    Damaged {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Where.
        source: pem::Error,
    },
    /// Certificate and key are not a pair.
    #[error("{key}: \"{path}\" does not go with the certificate in \"{certificate}\"")]
    NoPair {
        /// The key that names it.
        key: String,
        /// The key's file.
        path: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// A root that cannot be used.
    #[error("{key}: \"{path}\" has a certificate that cannot be a root")]
    Root {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// Clients cannot be verified with these roots and revocation lists.
    #[error("{key}: \"{path}\" cannot verify clients")]
    Verifier {
        /// The key that names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<VerifierBuilderError>,
    },
    /// A setting needs another one.
    #[error("{key}: needs {needs}")]
    Needs {
        /// The key.
        key: String,
        /// What has to be set too.
        needs: String,
    },
    /// The cryptography offers no version of TLS.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}
