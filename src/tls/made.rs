//! Certificates for a first try: a root, and a server's certificate below it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// The files that were written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MadeCertificates {
    /// The root, for clients.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A name that no certificate can have.
    #[error("\"{name}\" is not a host name or an address")]
    Name {
        /// The name.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A certificate cannot be made.
    #[error("a certificate can't be made")]
    Make(#[from] rcgen::Error),
    /// A file exists already.
    #[error("\"{0}\" exists already: remove it or choose another folder")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("\"{path}\" can't be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The days of a month that every month has are enough here: a certificate ends at the beginning of a day.
const DAY_MAX: u8 = 28;

/// Writes a root, its key, a server's certificate for these names and its key into a folder, readable by their owner
/// alone. They are valid from a day of this (year, month, day) for this many years.
///
/// # Errors
/// A name is not usable, or a file exists or cannot be written.
pub fn make(
    folder: &Path,
    names: &[String],
    (year, month, day): (i32, u8, u8),
    years: i32,
) -> Result<MadeCertificates, MakeError> {
    let day = day.clamp(1, DAY_MAX);
    let from = date_time_ymd(year, month, day);
    let until = date_time_ymd(year + years, month, day);
    let named = |text: &str| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, text);
        name
    };
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name = named("musterd self-signed CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (from, until);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let ca_key_pem = ca_key.serialize_pem();
    let issuer = Issuer::new(ca, ca_key);

    let mut server = CertificateParams::default();
    for name in names {
        let one = CertificateParams::new(vec![name.clone()]);
        let one = one.map_err(|source| MakeError::Name {
            name: name.clone(),
            source,
        })?;
        server.subject_alt_names.extend(one.subject_alt_names);
    }
    server.distinguished_name = named(names.first().map_or("musterd", String::as_str));
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (from, until);
    let server_key = KeyPair::generate()?;
    let server_pem = server.signed_by(&server_key, &issuer)?.pem();
    write_all(
        folder,
        &[
            ("ca.pem", ca_pem),
            ("ca.key", ca_key_pem),
            ("server.pem", server_pem),
            ("server.key", server_key.serialize_pem()),
        ],
    )?;
    Ok(MadeCertificates {
        ca: folder.join("ca.pem"),
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
    })
}

/// Writes all files or says which one is in the way before it writes any.
fn write_all(folder: &Path, files: &[(&str, String)]) -> Result<(), MakeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MakeError::Write { path, source }
    };
    let mut builder = fs::DirBuilder::new();
    let created = builder.recursive(true).mode(0o700).create(folder);
    created.map_err(failed(folder))?;
    for (name, _) in files {
        let path = folder.join(name);
        if path.exists() {
            return Err(MakeError::Exists(path));
        }
    }
    for (name, text) in files {
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        let opened = options.create_new(true).write(true).mode(0o600).open(&path);
        let mut file = opened.map_err(failed(&path))?;
        file.write_all(text.as_bytes()).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
