//! Certificates for tests: a root, and what is issued below it, as files of a folder.

use std::{fs, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use super::{ClientRoots, MinVersion, ServerFiles};

/// A root with its folder: `root.pem`, and `server.pem` with `server.key` for localhost.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("signed").pem();
        fs::write(folder.path().join("root.pem"), pem).expect("written");
        let authority = Self {
            folder,
            issuer: Issuer::new(params, key),
        };
        authority.issue("server", |params| {
            let name = "localhost".try_into().expect("a name");
            params.subject_alt_names.push(SanType::DnsName(name));
        });
        authority
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `FILE.pem` and `FILE.key`: a certificate with this common name and what `edit` adds.
    pub(crate) fn issue(
        &self,
        file: &str,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> rcgen::Certificate {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, file);
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let pem = certificate.pem();
        fs::write(self.path(&format!("{file}.pem")), pem).expect("written");
        let pem = key.serialize_pem();
        fs::write(self.path(&format!("{file}.key")), pem).expect("written");
        certificate
    }

    /// Writes `revoked.pem`.
    pub(crate) fn revoke(&self, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        let pem = list.pem().expect("PEM");
        fs::write(self.path("revoked.pem"), pem).expect("written");
    }

    /// Of a server that asks for certificates of this root.
    pub(crate) fn server(&self) -> ServerFiles {
        ServerFiles {
            section: "http.tls",
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: Some(ClientRoots {
                roots: self.path("root.pem"),
                roots_key: "client_ca",
                revoked: PathBuf::new(),
                revoked_key: "client_crl",
                is_required: false,
            }),
            min_version: MinVersion::default(),
            protocols: &["h2", "http/1.1"],
        }
    }
}
