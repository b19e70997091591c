//! The identities that a start finds: in the configuration, in files, and in the store.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Identities, TokenRows};
use crate::{
    model::Timestamp,
    security::{
        AuthMode, Config, RuleSet, SecurityError, TokenConfig, TokenDigest, TokenRecord,
        TokenSecret, TokenSource,
        principal::IdentityState,
        table::{TokenEntry, TokenTable},
    },
};

/// The name of the identity that a first start makes, and of those of MUSTERD_ADMIN_TOKEN and
/// `security.admin_token_file`.
pub(super) const ADMIN: &str = "admin";
/// The file in the store's folder with the token that a first start made.
const FIRST_TOKEN_FILE: &str = "admin-token";
/// The file before it is written to its end.
const UNFINISHED_FILE: &str = "admin-token.new";

/// A token that a first start made.
#[derive(Debug)]
pub struct FirstToken {
    /// Shown once.
    pub secret: TokenSecret,
    /// Where it was written to; none without a store.
    pub path: Option<PathBuf>,
}

/// Whether other machines can reach an address without authentication. Not to be asked about an address whose clients
/// must have certificates.
///
/// # Errors
/// It can, and `security.allow_open` is not set.
pub fn is_open(
    config: &Config,
    identities: &Identities,
    key: &'static str,
    address: SocketAddr,
) -> Result<bool, SecurityError> {
    if identities.is_on() || address.ip().to_canonical().is_loopback() {
        return Ok(false);
    }
    if config.allow_open {
        return Ok(true);
    }
    Err(SecurityError::Open {
        key,
        address: address.to_string(),
        port: address.port(),
    })
}

impl Identities {
    /// Reads the identities of the configuration, of its files, of the store's `folder` and of the rows of an earlier
    /// run. Makes an admin token when `security.auth` is on and there is no identity.
    ///
    /// # Errors
    /// A file or a row can't be read, or two tokens have the same secret.
    pub fn load(
        config: &Config,
        folder: Option<&Path>,
        stored: Vec<TokenRecord>,
        rows: Arc<dyn TokenRows>,
        now: Timestamp,
    ) -> Result<(Self, Option<FirstToken>), SecurityError> {
        if config.auth == AuthMode::Off {
            if let Some(ignored) = config.ignored(stored.len()) {
                tracing::warn!("{ignored}");
            }
            let none = Self::new(false, config.clone(), TokenTable::default(), rows);
            return Ok((none, None));
        }
        let mut loading = LoadingTokens {
            config,
            now,
            tokens: BTreeMap::new(),
        };
        for record in &stored {
            loading.add(record, TokenSource::RunTime);
        }
        for (name, token) in &config.tokens {
            let record = loading.configured(name, token)?;
            loading.add(&record, TokenSource::Configuration);
        }
        loading.add_admin()?;
        let first = loading.first(folder)?;
        let is_on = config.auth == AuthMode::On
            || !loading.tokens.is_empty()
            || config.has_outside_identity();
        let table = TokenTable::new(loading.tokens);
        table.check()?;
        let identities = Self::new(is_on, config.clone(), table, rows);
        identities.read_keys()?;
        Ok((identities, first))
    }
}

struct LoadingTokens<'a> {
    config: &'a Config,
    now: Timestamp,
    tokens: BTreeMap<Box<str>, TokenEntry>,
}

impl LoadingTokens<'_> {
    /// A policy that is not configured any more allows nothing.
    fn add(&mut self, record: &TokenRecord, source: TokenSource) {
        let policies = record.policies.iter();
        let rules = policies.filter_map(|name| {
            let rules = self.config.rules(name);
            if rules.is_none() {
                tracing::warn!(
                    "token \"{}\" names policy \"{name}\", which is not configured: it allows nothing",
                    record.name
                );
            }
            rules
        });
        let rules = RuleSet::new(rules.flatten());
        let made = (source == TokenSource::RunTime).then_some(record.created);
        let identity = IdentityState::of_token(record, made, rules);
        let entry = TokenEntry::new(record, identity, source);
        self.tokens.insert(record.name.clone(), entry);
    }

    fn configured(&self, name: &str, token: &TokenConfig) -> Result<TokenRecord, SecurityError> {
        let key = || format!("security.tokens.{name}.file");
        let digest = match (&token.sha256, &token.file) {
            (Some(digest), _) => TokenDigest::parse(digest),
            (None, Some(file)) => Some(TokenDigest::of(from_file(key(), file)?.expose())),
            (None, None) => None,
        };
        let digest =
            digest.ok_or_else(|| SecurityError::Unusable(format!("security.tokens.{name}")))?;
        let policies = token.policies.iter().map(|one| one.as_str().into());
        let expires = token.expires.as_deref().and_then(Timestamp::parse);
        Ok(self.record(name, policies.collect(), expires, digest))
    }

    fn record(
        &self,
        name: &str,
        policies: Box<[Box<str>]>,
        expires: Option<Timestamp>,
        digest: TokenDigest,
    ) -> TokenRecord {
        TokenRecord {
            name: name.into(),
            policies,
            created: self.now,
            expires,
            used: None,
            secrets: vec![(digest, None)],
        }
    }

    fn admin(&mut self, secret: &TokenSecret, source: TokenSource) {
        let digest = TokenDigest::of(secret.expose());
        let record = self.record(ADMIN, Box::new([ADMIN.into()]), None, digest);
        self.add(&record, source);
    }

    fn add_admin(&mut self) -> Result<(), SecurityError> {
        if let Some(secret) = &self.config.admin_token {
            self.admin(secret, TokenSource::Configuration);
        }
        let file = &self.config.admin_token_file;
        if !file.is_empty() {
            let secret = from_file("security.admin_token_file".to_owned(), file)?;
            self.admin(&secret, TokenSource::Configuration);
        }
        Ok(())
    }

    /// The token of a first start: that of an earlier one, or a new one when it is needed or the file of the earlier
    /// one was not written to its end.
    fn first(&mut self, folder: Option<&Path>) -> Result<Option<FirstToken>, SecurityError> {
        if self.tokens.contains_key(ADMIN) {
            return Ok(None);
        }
        let path = folder.map(|folder| folder.join(FIRST_TOKEN_FILE));
        let existing = path.as_ref().filter(|path| path.exists());
        if let Some(path) = existing {
            if let Some(secret) = kept(path)? {
                self.admin(&secret, TokenSource::FirstStart);
                return Ok(None);
            }
            tracing::warn!(
                "{} has no whole token: it is replaced by a new one",
                path.display()
            );
        } else if self.config.auth != AuthMode::On
            || !self.tokens.is_empty()
            || self.config.has_outside_identity()
        {
            return Ok(None);
        }
        let secret = TokenSecret::random()?;
        if let (Some(folder), Some(path)) = (folder, &path) {
            write(folder, path, &secret).map_err(|source| SecurityError::NotWritten {
                path: path.clone(),
                source,
            })?;
        }
        self.admin(&secret, TokenSource::FirstStart);
        Ok(Some(FirstToken { secret, path }))
    }
}

fn from_file(key: String, path: &str) -> Result<TokenSecret, SecurityError> {
    let text = fs::read_to_string(path).map_err(|source| SecurityError::File {
        key: key.clone(),
        path: path.into(),
        source,
    })?;
    let unusable = || SecurityError::Unusable(format!("{key} {path}"));
    TokenSecret::given(&text).ok_or_else(unusable)
}

/// The token that an earlier first start wrote, or an operator in its place; none when the file is empty or cut.
fn kept(path: &Path) -> Result<Option<TokenSecret>, SecurityError> {
    let bytes = fs::read(path).map_err(|source| SecurityError::File {
        key: "store.path".to_owned(),
        path: path.into(),
        source,
    })?;
    Ok(TokenSecret::given(&String::from_utf8_lossy(&bytes)).filter(|secret| !secret.is_cut()))
}

/// Readable by its owner alone from the first moment, and under its name only when it is whole.
fn write(folder: &Path, path: &Path, secret: &TokenSecret) -> io::Result<()> {
    let unfinished = folder.join(UNFINISHED_FILE);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut options = OpenOptions::new();
    let options = options.create_new(true).write(true).mode(0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(file, "{}", secret.expose())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}
