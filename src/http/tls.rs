//! Section `http.tls`.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::{
    quantity::{Bounded, DAY},
    tls::{ClientRoots, MinVersion, ServerFiles, ServerTls, TlsError},
};

/// The protocols that the server offers: HTTP/2 is preferred.
const PROTOCOLS: &[&str] = &["h2", "http/1.1"];

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// No.
    #[default]
    Off,
    /// Yes; a client without one is served, and needs another proof of its identity.
    Optional,
    /// Yes; a client without one is refused.
    Required,
}

/// Section `http.tls`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port of a listener with TLS besides `http.listen`; empty: `http.listen` speaks TLS once there is a
    /// certificate.
    pub listen: String,
    /// PEM file with the server's certificate and the intermediate ones; empty: no TLS.
    pub certificate: PathBuf,
    /// PEM file with the certificate's key.
    pub key: PathBuf,
    /// PEM file with the roots of client certificates.
    pub client_ca: PathBuf,
    /// PEM file with lists of revoked client certificates; empty for none.
    pub client_crl: PathBuf,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// The lowest version.
    pub min_version: MinVersion,
    /// How long a handshake may take.
    pub handshake_timeout: Bounded<Duration, 10, DAY>,
    /// How often the files are checked for a change.
    pub check_every: Bounded<Duration, 100, DAY>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: String::new(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            client_crl: PathBuf::new(),
            client_auth: ClientAuth::default(),
            min_version: MinVersion::default(),
            handshake_timeout: Duration::from_secs(10).into(),
            check_every: Duration::from_secs(5).into(),
        }
    }
}

impl Config {
    /// Whether there is TLS.
    pub fn is_on(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// The files of the listeners.
    pub fn files(&self) -> ServerFiles {
        let clients = ClientRoots {
            roots: self.client_ca.clone(),
            roots_key: "client_ca",
            revoked: self.client_crl.clone(),
            revoked_key: "client_crl",
            is_required: self.client_auth == ClientAuth::Required,
        };
        ServerFiles {
            section: "http.tls",
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            clients: (self.client_auth != ClientAuth::Off).then_some(clients),
            min_version: self.min_version,
            protocols: PROTOCOLS,
        }
    }

    /// TLS of the listeners; none when it is off.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn open(&self) -> Result<Option<ServerTls>, TlsError> {
        match self.is_on() {
            true => ServerTls::load(self.files(), self.handshake_timeout.get()).map(Some),
            false => Ok(None),
        }
    }

    /// Everything that is wrong with it, without a look at the files.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let is_named = |path: &PathBuf| !path.as_os_str().is_empty();
        let (on, asks) = (self.is_on(), self.client_auth != ClientAuth::Off);
        if on && !is_named(&self.key) {
            faults.push("http.tls.key names no file: http.tls.certificate needs one".to_owned());
        }
        if !on {
            for (key, is_set) in [
                ("listen", !self.listen.is_empty()),
                ("key", is_named(&self.key)),
                ("client_auth", asks),
            ] {
                if is_set {
                    faults.push(format!(
                        "http.tls.{key} is set: it needs http.tls.certificate"
                    ));
                }
            }
        }
        if asks && !is_named(&self.client_ca) {
            faults.push(
                "http.tls.client_ca names no file: http.tls.client_auth needs one".to_owned(),
            );
        }
        for (key, path) in [
            ("client_ca", &self.client_ca),
            ("client_crl", &self.client_crl),
        ] {
            if !asks && is_named(path) {
                faults.push(format!(
                    "http.tls.{key} is set, but clients are asked for no certificate: set http.tls.client_auth to \
                     \"optional\" or \"required\""
                ));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let config: Config = toml::from_str(text).unwrap();
        let faults = config.faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, part) in faults.iter().zip(expected) {
            assert!(fault.starts_with(part), "{fault}");
        }
    }

    #[test]
    fn settings_that_need_another_one_name_it() {
        check("", &[]);
        check("certificate = 'a'\nkey = 'b'", &[]);
        check("certificate = 'a'\nkey = 'b'\nmin_version = '1.3'", &[]);
        check("certificate = 'a'", &["http.tls.key names no file"]);
        check("key = 'a'", &["http.tls.key is set"]);
        check("listen = '127.0.0.1:1'", &["http.tls.listen is set"]);
        let pair = "certificate = 'a'\nkey = 'b'\n";
        check(
            &format!("{pair}client_auth = 'required'"),
            &["http.tls.client_ca names no file"],
        );
        check(
            &format!("{pair}client_auth = 'optional'\nclient_ca = 'c'\nclient_crl = 'd'"),
            &[],
        );
        check(
            &format!("{pair}client_ca = 'c'"),
            &["http.tls.client_ca is set"],
        );
        assert!(toml::from_str::<Config>("min_version = '1.1'").is_err());
    }

    #[test]
    fn clients_are_asked_as_configured() {
        let files = |auth: &str| {
            let text = format!("client_auth = '{auth}'");
            toml::from_str::<Config>(&text).unwrap().files()
        };
        assert_eq!(files("off").clients, None);
        assert!(!files("optional").is_client_required());
        assert!(files("required").is_client_required());
    }
}
