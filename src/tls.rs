//! TLS for each door and each client: PEM files in, configurations of rustls out, and the names in certificates.
//!
//! Knows no protocol above TLS and no identity.

mod client;
mod door;
mod error;
mod made;
mod names;
mod pem;
mod server;
mod subject;
#[cfg(test)]
pub(crate) mod testing;

pub use self::{
    client::{ClientFiles, PinnedCertificate, TrustedRoots, exactly, trusting},
    door::{AcceptedTls, ServerTls, TlsReplacement},
    error::TlsError,
    made::{MadeCertificates, MakeError, make},
    names::{CertificateNames, ClientCertificate, distinguished_name_of, names_of},
    server::{ClientRoots, MinVersion, ServerFiles},
};
