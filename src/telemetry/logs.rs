//! Structured logs on standard error, as text or JSON, with a level that can change at run time.

use std::{io::IsTerminal, iter};

use serde::Deserialize;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

/// Section `log`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A level, or directives such as `info,musterd::health=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: Format::Text,
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        match parse(&self.level) {
            Err(wrong) => vec![wrong.to_string()],
            Ok(_) => self.level.split(',').filter_map(not_a_level).collect(),
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is no filter.
    #[error(
        "log.level \"{level}\" is not a level or a list of directives such as \"info,musterd::health=debug\""
    )]
    Level {
        /// As it was given.
        level: String,
        /// What the parser said.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A subscriber is already there, or it is gone.
    #[error("logging can't be set up: {0}")]
    SetUp(String),
}

/// The running log, whose level can be changed.
#[derive(Clone, Debug)]
pub struct Logs {
    filter: reload::Handle<Targets, Registry>,
}

impl Logs {
    /// Starts logging to standard error, once per process.
    ///
    /// # Errors
    /// The level can't be read, or the process logs already.
    pub fn start(config: &Config) -> Result<Self, LogError> {
        let (filter, handle) = reload::Layer::new(parse(&config.level)?);
        let lines = match config.format {
            Format::Text => fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .boxed(),
            Format::Json => fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr)
                .boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| LogError::SetUp(error.to_string()))?;
        Ok(Self { filter: handle })
    }

    /// Changes the level.
    ///
    /// # Errors
    /// The level can't be read; the old one stays.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.filter
            .reload(parse(level)?)
            .map_err(|error| LogError::SetUp(error.to_string()))
    }
}

/// What the AMQP client says of its connection's end we say ourselves, and not as an error.
const QUIET: &str = "lapin=off";

/// A word alone is taken for the name of a module and would silence all others: who means one can
/// say how much of it.
fn not_a_level(directive: &str) -> Option<String> {
    let directive = directive.trim();
    let names_one = directive.contains('=') || directive.is_empty();
    (!names_one && directive.parse::<LevelFilter>().is_err()).then(|| {
        format!(
            "log.level \"{directive}\" is not one of error, warn, info, debug, trace, off; for one module write \"info,{directive}=debug\""
        )
    })
}

fn parse(level: &str) -> Result<Targets, LogError> {
    let parts = level.split(',').map(str::trim);
    let directives: Vec<_> = iter::once(QUIET)
        .chain(parts.filter(|part| !part.is_empty()))
        .collect();
    directives
        .join(",")
        .parse()
        .map_err(|source| LogError::Level {
            level: level.to_owned(),
            source,
        })
}
