//! Reading a configuration: defaults, then a file, then the environment, then the command line.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use config::{File, FileFormat, Map, Value, ValueKind};
use serde::Deserialize;

use super::{
    Config, GivenKeys, environment,
    shown::{self, Values},
    words,
};
use crate::security::TokenSecret;

/// How serde's complaint of a text in the place of a list ends.
const NO_LIST: &str = "expected a sequence";

/// One key that is wrong, and how to mend it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The key, with dots between its parts.
    pub key: String,
    /// The fault.
    pub message: String,
}

impl Fault {
    pub(super) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }

    /// From a section's sentence, which begins with the key or lacks it.
    pub(super) fn of_sentence(section: &str, sentence: String) -> Self {
        match sentence.split_once(' ') {
            Some((key, rest)) if key.split_once('.').is_some_and(|(of, _)| of == section) => {
                Self::new(key.trim_end_matches(':'), rest)
            }
            _ => Self::new(section, sentence),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read or is not TOML.
    #[error("the configuration file can't be used: {0}")]
    File(String),
    /// Some keys are wrong: all of them.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
}

fn list(faults: &[Fault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Where a configuration comes from, besides the defaults; the later wins.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Names and values of environment variables.
    pub environment: Vec<(String, String)>,
    /// Keys and values of the command line.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Takes the environment of the process.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let own = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        self.environment = own.collect();
        self
    }

    /// Reads everything, and keeps what was given besides.
    ///
    /// # Errors
    /// The same as [`Self::load`].
    pub fn load_values(&self) -> Result<(Config, Values), ConfigError> {
        let values = Values::of(&self.tree()?, &self.file_source());
        Ok((self.load()?, values))
    }

    /// A sentence for each environment variable that looks like a key and is none.
    pub fn warnings(&self) -> Vec<String> {
        let names = self.environment.iter().map(|(name, _)| name.as_str());
        names.filter_map(environment::warning).collect()
    }

    /// The configuration in effect, as TOML: each key with its value and where it comes from.
    ///
    /// # Errors
    /// The same as [`Self::load`].
    pub fn shown(&self) -> Result<String, ConfigError> {
        self.load()?;
        Ok(shown::toml(&self.tree()?, &self.file_source()))
    }

    fn file_source(&self) -> String {
        let file = self.file.as_deref().unwrap_or_else(|| Path::new(""));
        format!("file {}", file.display())
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Names the file, or every key that is wrong.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut tree = self.tree()?;
        let given = GivenKeys(Values::of(&tree, &self.file_source()).keys());
        let mut faults = Vec::new();
        check_leaves(&mut tree, &mut Vec::new(), &mut faults);
        // The remaining leaves can be read: the faulty ones are removed.
        match read(tree) {
            Ok(mut config) => {
                faults.extend(self.take_secret(&mut config));
                if cfg!(debug_assertions) {
                    let folder = self.variable(environment::DASHBOARD_FOLDER);
                    config.http.dashboard_folder = folder.map(PathBuf::from);
                }
                config.given = given;
                faults.extend(config.faults());
                if faults.is_empty() {
                    return Ok(config);
                }
            }
            Err(message) => faults.push(Fault::new("configuration", message)),
        }
        Err(ConfigError::Faults(faults))
    }

    /// The value of an environment variable that is no key; an empty one counts as not set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        let value = found.map(|(_, value)| value.as_str());
        value.filter(|value| !value.trim().is_empty())
    }

    /// The secret of the environment has no key, so that nothing shows it.
    fn take_secret(&self, config: &mut Config) -> Option<Fault> {
        let text = self.variable(environment::ADMIN_TOKEN)?;
        config.security.admin_token = TokenSecret::given(text);
        let is_usable = config.security.admin_token.is_some();
        (!is_usable).then(|| {
            Fault::new(
                environment::ADMIN_TOKEN,
                "is not a usable token: 16 to 512 visible ASCII characters without spaces; \
                 `openssl rand -hex 32` makes one",
            )
        })
    }

    /// All keys that are given, each with its source as its origin.
    fn tree(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut tree = self.read_file()?;
        for (name, text) in &self.environment {
            if let Some(key) = name.strip_prefix(environment::PREFIX) {
                let parts: Vec<_> = key.split("__").map(str::to_lowercase).collect();
                let origin = format!("environment {name}");
                insert(&mut tree, &parts, Value::new(Some(&origin), text.as_str()));
            }
        }
        for (key, text) in &self.flags {
            let parts: Vec<_> = key.split('.').map(str::to_owned).collect();
            let origin = "command line".to_owned();
            insert(&mut tree, &parts, Value::new(Some(&origin), text.as_str()));
        }
        Ok(tree)
    }

    fn read_file(&self) -> Result<Map<String, Value>, ConfigError> {
        let Some(path) = &self.file else {
            return Ok(Map::new());
        };
        let unusable =
            |error: &dyn fmt::Display| ConfigError::File(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(&error))?;
        config::Config::builder()
            .add_source(File::from_str(&text, FileFormat::Toml))
            .build()
            .and_then(|file| file.cache.into_table())
            .map_err(|error| unusable(&error))
    }
}

fn insert(tree: &mut Map<String, Value>, parts: &[String], value: Value) {
    let Some((first, rest)) = parts.split_first() else {
        return;
    };
    if rest.is_empty() {
        tree.insert(first.clone(), value);
        return;
    }
    let inner = tree
        .entry(first.clone())
        .or_insert_with(|| Value::new(None, Map::<String, Value>::new()));
    if !matches!(inner.kind, ValueKind::Table(_)) {
        inner.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(inner) = &mut inner.kind {
        insert(inner, rest, value);
    }
}

/// Reads every leaf separately, so that no fault hides another, and removes the faulty ones.
fn check_leaves(tree: &mut Map<String, Value>, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    let mut keys: Vec<_> = tree.keys().cloned().collect();
    keys.sort();
    for key in keys {
        let Some(value) = tree.get_mut(&key) else {
            continue;
        };
        path.push(key);
        match &mut value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => {
                check_leaves(inner, path, faults);
                // All of its leaves were faulty and are reported.
                if inner.is_empty() {
                    tree.remove(&path[path.len() - 1]);
                }
            }
            _ => {
                if let Err(said) = mend(value, path) {
                    let message = match words::allowed(path) {
                        Some(words) => no_word(value, words),
                        None => said,
                    };
                    faults.push(Fault::new(path.join("."), message));
                    tree.remove(&path[path.len() - 1]);
                }
            }
        }
        path.pop();
    }
}

/// Reads one leaf. A text where a list belongs (the environment has only texts) becomes its parts between
/// commas.
fn mend(value: &mut Value, path: &[String]) -> Result<(), String> {
    let Err(said) = read(branch(path, value.clone())) else {
        return Ok(());
    };
    if !said.ends_with(NO_LIST) {
        return Err(said);
    }
    let Some(list) = as_list(value) else {
        return Err(said);
    };
    let with_hint = |said| format!("{said} (several are separated by commas)");
    read(branch(path, list.clone())).map_err(with_hint)?;
    *value = list;
    Ok(())
}

fn as_list(value: &Value) -> Option<Value> {
    let ValueKind::String(text) = &value.kind else {
        return None;
    };
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    Some(Value::new(
        None,
        parts.map(|part| Value::new(None, part)).collect::<Vec<_>>(),
    ))
}

/// A tree with one leaf.
fn branch(path: &[String], leaf: Value) -> Map<String, Value> {
    let mut parts = path.iter().rev();
    let last = parts.next().cloned().unwrap_or_default();
    let mut tree = Map::from_iter([(last, leaf)]);
    for part in parts {
        tree = Map::from_iter([(part.clone(), Value::new(None, tree))]);
    }
    tree
}

fn read(tree: Map<String, Value>) -> Result<Config, String> {
    Config::deserialize(Value::new(None, tree)).map_err(|error| message(&error))
}

fn no_word(value: &Value, words: &[&str]) -> String {
    format!("\"{value}\" is not one of {}", words.join(", "))
}

/// Serde's message without the key, which the fault names.
fn message(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::At { error, .. } => message(error),
        config::ConfigError::Type {
            unexpected,
            expected,
            ..
        } => format!("is {unexpected}, expected {expected}"),
        other => other.to_string(),
    }
}
