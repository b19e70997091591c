//! Structured logs on standard error, as text or JSON, with a level that can change at run time.
//!
//! A line never waits for the reader of standard error, and quoted text cannot forge one. At the default
//! level no place in the code writes more than a few lines a second.

mod line;
mod queue;
mod rate;
mod tap;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, IsTerminal},
    iter, panic,
    sync::Arc,
    time::Duration,
};

use bytesize::ByteSize;
use serde::Deserialize;
use tokio::sync::mpsc;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    reload,
    util::SubscriberInitExt,
};

use self::{
    line::Text,
    queue::{LineQueue, Lines},
    rate::{Limited, Rates},
    tap::LogTap,
};
use super::Metrics;
use crate::quantity::{Bounded, GIB, KIB};

/// Section `log`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A level, or directives such as `info,musterd::health=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: Format,
    /// Lines that wait for the reader of standard error; more are dropped and counted.
    pub buffer_max: Bounded<ByteSize, { 64 * KIB }, GIB>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: Format::Text,
            buffer_max: ByteSize::mib(1).into(),
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
        /// The parser's error.
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
    queue: Arc<LineQueue>,
    tap: LogTap,
}

impl Logs {
    /// Starts logging to standard error, once per process; panics are logged as well.
    ///
    /// # Errors
    /// The level can't be read, the process logs already, or there is no thread for the writer.
    pub fn start(config: &Config) -> Result<Self, LogError> {
        let set_up = |error: &dyn std::fmt::Display| LogError::SetUp(error.to_string());
        let (filter, handle) = reload::Layer::new(parse(&config.level)?);
        let queue =
            LineQueue::new(usize::try_from(config.buffer_max.as_u64()).unwrap_or(usize::MAX));
        let rates = Rates::new();
        let lines = match config.format {
            Format::Text => fmt::layer()
                .event_format(Text {
                    coloured: io::stderr().is_terminal(),
                })
                .with_writer(Lines::text(&queue))
                .with_filter(Limited(Arc::clone(&rates)))
                .boxed(),
            Format::Json => fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(Lines::json(&queue))
                .with_filter(Limited(Arc::clone(&rates)))
                .boxed(),
        };
        let tap = LogTap::default();
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .with(tap.clone())
            .try_init()
            .map_err(|error| set_up(&error))?;
        let own = match config.format {
            Format::Text => line::own,
            Format::Json => line::own_json,
        };
        let started = Arc::clone(&queue).start(io::stderr(), rates, own);
        started.map_err(|error| set_up(&error))?;
        log_panics();
        Ok(Self {
            filter: handle,
            queue,
            tap,
        })
    }

    /// Lines of this level or a graver one as text, from now on, as far as the level of the log lets them through. A
    /// slow reader misses lines; dropping the receiver ends it.
    pub fn follow(&self, level: tracing::Level) -> mpsc::Receiver<Box<str>> {
        self.tap.follow(level)
    }

    /// Waits until all lines are written, but not longer than this.
    pub fn flush(&self, patience: Duration) {
        self.queue.flush(patience);
    }

    /// Shows among the metrics how many lines were dropped.
    pub fn show(&self, metrics: &Metrics) {
        let counter = metrics.counter(
            "musterd_log_dropped_total",
            "Log lines dropped because standard error was read too slowly.",
        );
        let queue = Arc::clone(&self.queue);
        metrics.before_render(move || counter.inc_by(queue.dropped() - counter.get()));
    }

    /// Changes the level.
    ///
    /// # Errors
    /// The level can't be read; the old one remains in effect.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.filter
            .reload(parse(level)?)
            .map_err(|error| LogError::SetUp(error.to_string()))
    }
}

/// The transport logs the end of a RabbitMQ connection itself.
const QUIET: &str = "lapin=off";

/// The parser takes a single word for a module's name, which would silence all other modules; so a module needs
/// its level.
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

/// A panic's place and text become a line of the log; the task's supervisor says what it means.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<&str>().copied();
        let text = text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no text");
        let location = info.location().map(ToString::to_string);
        let location = location.as_deref().unwrap_or("an unknown place");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(%backtrace, "panic at {location}: {text}");
        } else {
            tracing::error!("panic at {location}: {text}");
        }
    }));
}
