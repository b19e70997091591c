//! Identities that others vouch for: certificate authorities and an identity provider.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use super::Identities;
use crate::{
    model::Timestamp,
    security::{
        Config, JwksError, JwksPlace, JwksSource, JwtFault, LoginRefused, Principal, SecurityError,
        TokenDigest,
        certificates::CertificateTable,
        jwt::{self, JwtIdentities},
    },
    tls::CertificateNames,
};

impl Identities {
    /// The identity that a certificate with these names proves. That the certificate is valid was decided before.
    pub fn certified(&self, names: &CertificateNames) -> Option<Principal> {
        self.0.certificates.load().find(names)
    }

    /// Takes over `security.certificates` and `security.jwt`: what was recognised by what is gone ends at once. The
    /// policies stay those of the start.
    ///
    /// # Errors
    /// The file with the provider's keys can't be used; then nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), SecurityError> {
        if !self.is_on() {
            if config.has_outside_identity() && !self.0.config.has_outside_identity() {
                tracing::warn!(
                    "security.certificates and security.jwt are in effect only after a restart: authentication is off"
                );
            }
            return Ok(());
        }
        let effective = &self.0.config;
        let old = self.0.jwt.load_full();
        let is_same = match &old {
            Some(old) => old.is_of(&config.jwt),
            None => !config.jwt.is_on(),
        };
        if !is_same {
            let jwt = JwtIdentities::new(&config.jwt, effective, old.as_deref());
            if let Some(jwt) = &jwt {
                read_keys(jwt)?;
            }
            self.0.jwt.store(jwt.map(Arc::new));
            if let Some(old) = old {
                old.end_all();
            }
        }
        let before = self.0.certificates.load_full();
        let tokens = self.0.table.load();
        let next = CertificateTable::new(&config.certificates, effective, &tokens, &before);
        let next = Arc::new(next);
        self.0.certificates.store(Arc::clone(&next));
        before.end_without(&next);
        self.0.jwks_wanted.notify_one();
        Ok(())
    }

    /// Where the keys of the identity provider are; none without one.
    pub fn jwks_source(&self) -> Option<JwksSource> {
        self.0.jwt.load().as_ref().map(|jwt| jwt.source())
    }

    /// Takes the keys of the identity provider into use, which were read from `source`: how many there are. What was
    /// recognised by a key that is gone ends. Keys from a source that a reload has replaced are dropped.
    ///
    /// # Errors
    /// They can't be used; the ones before stay.
    pub fn set_jwks(&self, source: &JwksSource, text: &[u8]) -> Result<usize, JwksError> {
        match &*self.0.jwt.load() {
            Some(jwt) if jwt.source().place == source.place => jwt.set_keys(text),
            _ => Ok(0),
        }
    }

    /// Returns when the keys of the identity provider should be read again: a JWT named another one, or the
    /// configuration has changed. Cancel safe.
    pub async fn jwks_wanted(&self) {
        self.0.jwks_wanted.notified().await;
    }

    pub(super) fn find_jwt(
        &self,
        token: &str,
        digest: TokenDigest,
        now: Timestamp,
    ) -> Result<Principal, LoginRefused> {
        let jwt = self.0.jwt.load();
        let Some(jwt) = jwt.as_ref().filter(|_| jwt::has_form(token)) else {
            return Err(LoginRefused::Wrong);
        };
        let recognised = jwt.recognise(token, digest, now);
        if recognised.as_ref().err() == Some(&JwtFault::UnknownKey) {
            self.0.jwks_wanted.notify_one();
        }
        recognised.map_err(LoginRefused::Jwt)
    }

    /// Reads the keys of the identity provider, if they are in a file.
    pub(super) fn read_keys(&self) -> Result<(), SecurityError> {
        match &*self.0.jwt.load() {
            Some(jwt) => read_keys(jwt),
            None => Ok(()),
        }
    }
}

fn read_keys(jwt: &JwtIdentities) -> Result<(), SecurityError> {
    let source = jwt.source();
    let JwksPlace::File(path) = &source.place else {
        return Ok(());
    };
    let text = source.read(Path::new(path))?;
    let set = jwt.set_keys(&text);
    set.map(drop).map_err(|source| SecurityError::Jwks {
        path: path.into(),
        source,
    })
}

impl JwksSource {
    /// Reads the file with the keys.
    ///
    /// # Errors
    /// It can't be read. One that is too large is cut off, and can't be used.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, SecurityError> {
        let limit = u64::try_from(self.bytes_max).unwrap_or(u64::MAX);
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text));
        read.map_err(|source| SecurityError::File {
            key: "security.jwt.jwks_file".to_owned(),
            path: path.into(),
            source,
        })?;
        Ok(text)
    }
}
