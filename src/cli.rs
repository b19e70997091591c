//! Arguments and the commands of the binary: they parse, call `app`, and turn the end into an exit code.

mod ask;
mod backup;
mod broker;
mod check;
mod hash;
mod health;
mod migrate;
mod prober;
mod signals;
mod store;
mod token;
mod transport;

use std::{io, path::PathBuf, process::ExitCode, thread::scope, time::Duration};

use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use self::{ask::Daemon, signals::Signals};
use crate::{
    app::{self, App, AppError, Logs},
    config::{self, Config, Sources, Values, cores},
    telemetry::escaped,
};

/// Exit code: a component failed or did not stop in time, or the daemon could not start.
const FAILED: u8 = 1;
/// Exit code: the configuration or the arguments are wrong.
const MISCONFIGURED: u8 = 2;
/// How long the last lines of the log may take to be written.
const LOG_PATIENCE: Duration = Duration::from_millis(500);

#[derive(Debug, Parser)]
#[command(
    name = "musterd",
    version,
    about = "A service registry with a message broker inside it"
)]
struct Arguments {
    /// Configuration file (TOML); config/default.toml names every key
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over the file and the environment; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The token with which the running daemon is asked; the variable MUSTERD_TOKEN and --token-file do not show it to
    /// other users of this machine
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with that token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the daemon (the default command)
    Serve,
    /// Ask the running daemon whether it is healthy; exit code 0 means yes
    Health(health::Arguments),
    /// Show or control the running daemon's migration to the broker
    Migrate(migrate::Arguments),
    /// Show or change the mode of each channel of the running daemon
    Transport(transport::Arguments),
    /// Make, show, rotate and revoke the tokens of the running daemon
    Token(token::Arguments),
    /// Run a prober: it takes health checks from the broker and answers with verdicts
    Prober(prober::Arguments),
    /// Export or import the topology of the running daemon's broker
    Broker(broker::Arguments),
    /// Check, repair or show the store of a stopped daemon
    Store(store::Arguments),
    /// Write everything that the running daemon stores, messages in queues included, into a file
    Backup(backup::BackupArguments),
    /// Put a backup into the folder of a stopped daemon; what was there is kept aside
    Restore(backup::RestoreArguments),
    /// Read the configuration and report every fault
    CheckConfig(check::Arguments),
    /// Read a password from standard input and print its hash, for `broker.users.<name>.password_hash`
    HashPassword,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write it as KEY=VALUE, such as http.listen=127.0.0.1:9000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs the command the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(CliCommand::HashPassword) = arguments.command {
        return hash::run();
    }
    let sources = Sources {
        file: arguments.config,
        flags: arguments.set,
        ..Sources::default()
    }
    .with_environment();
    if let Some(CliCommand::CheckConfig(arguments)) = arguments.command {
        return check::run(&arguments, &sources);
    }
    let (config, values) = match sources.load_values() {
        Ok(loaded) => loaded,
        Err(error) => {
            print_error(&error.to_string());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let token = match token(arguments.token, arguments.token_file, &sources) {
        Ok(token) => token,
        Err(error) => {
            print_error(&error);
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let daemon = |url| Daemon::at(url, &config, token.as_deref());
    match arguments.command {
        Some(CliCommand::Health(arguments)) => health::run(&arguments, &config),
        Some(CliCommand::Token(arguments)) => {
            token::run(&arguments, &daemon(arguments.url.as_ref()))
        }
        Some(CliCommand::Transport(arguments)) => {
            transport::run(&arguments, &daemon(arguments.url.as_ref()))
        }
        Some(CliCommand::Migrate(arguments)) => {
            migrate::run(&arguments, &daemon(arguments.url.as_ref()))
        }
        Some(CliCommand::Broker(arguments)) => {
            broker::run(&arguments, &daemon(arguments.url.as_ref()))
        }
        Some(CliCommand::Store(arguments)) => store::run(arguments, &config, &daemon(None)),
        Some(CliCommand::Backup(arguments)) => {
            backup::backup(&arguments, &daemon(arguments.url.as_ref()))
        }
        Some(CliCommand::Restore(arguments)) => backup::restore(arguments, &config),
        Some(CliCommand::Prober(arguments)) => prober::run(arguments, &sources, config),
        _ => serve(&sources, config, values),
    }
}

/// The token of a client command: of the command line, of a file, or of the environment.
fn token(
    given: Option<String>,
    file: Option<PathBuf>,
    sources: &Sources,
) -> Result<Option<String>, String> {
    let text = match (given, file) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => {
            let read = std::fs::read_to_string(&file);
            Some(read.map_err(|error| format!("--token-file {}: {error}", file.display()))?)
        }
        (None, None) => sources.variable("MUSTERD_TOKEN").map(str::to_owned),
    };
    let text = text.map(|text| text.trim().to_owned());
    match text {
        Some(text) if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("the token is empty or has characters that no token has".to_owned())
        }
        text => Ok(text),
    }
}

/// Only the client of another broker needs large stacks.
fn deepen_stacks(config: &Config) {
    if cfg!(not(feature = "amqp")) || config.transport.amqp_url.is_empty() {
        return;
    }
    if let Err(error) = config::deepen_stacks() {
        print_error(&format!("threads keep small stacks: {error}"));
    }
}

fn serve(sources: &Sources, mut config: Config, values: Values) -> ExitCode {
    config.store.path.get_or_insert_with(|| "data".into());
    deepen_stacks(&config);
    let (threads, cores) = (config.threads, cores());
    let http = (!config.http.listen.is_empty()).then(|| threads.http(cores));
    let others = threads.other(cores, http.unwrap_or(0));
    let http = match http.map(|threads| runtime("musterd-http", threads)) {
        None => None,
        Some(Ok(http)) => Some(http),
        Some(Err(failed)) => return failed,
    };
    let ended = run_logged(sources, config, others, async |config, logs, signals| {
        let http = http.as_ref().map(|http| http.handle().clone());
        let app = App::start_on(&http.unwrap_or_else(Handle::current), config).await?;
        let reload = app.reloader(logs, values);
        let stop = signals.wait_for_stop(|| reload.apply(sources.load_values()));
        app.run_until(stop).await
    });
    if let Some(http) = http {
        http.shutdown_background();
    }
    ended
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, ExitCode> {
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_all()
            .build()
    };
    check_threads(threads)
        .and_then(|()| build())
        .map_err(|error| {
            print_error(&format!("{threads} threads can't be started: {error}"));
            ExitCode::from(FAILED)
        })
}

/// Checks that the system can start this many threads: a runtime that gets fewer hangs instead of failing.
fn check_threads(threads: usize) -> io::Result<()> {
    let all_there = Mutex::new(());
    let not_yet = all_there.lock();
    scope(|scope| {
        let wait = || drop(all_there.lock());
        let started = (0..threads).try_for_each(|_| {
            let thread = std::thread::Builder::new();
            thread.spawn_scoped(scope, wait).map(drop)
        });
        drop(not_yet);
        started
    })
}

/// Runs a long-running command with a log, on this many threads, until a signal stops it.
fn run_logged(
    sources: &Sources,
    config: Config,
    threads: usize,
    run: impl AsyncFnOnce(Config, Logs, Signals) -> Result<(), AppError>,
) -> ExitCode {
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            print_error(&error.to_string());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    for warning in sources.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = match runtime("musterd-other", threads) {
        Ok(runtime) => runtime,
        Err(failed) => return failed,
    };
    // Before anything listens, so that no signal meets the system's default action.
    let ended = match Signals::catch(logs.clone()) {
        Ok(signals) => runtime.block_on(run(config, logs.clone(), signals)),
        Err(error) => Err(AppError::Signals(error)),
    };
    // Blocking tasks are not waited for: every component has ended or was aborted.
    runtime.shutdown_background();
    let code = self::ended(ended);
    logs.flush(LOG_PATIENCE);
    code
}

fn ended(ended: Result<(), AppError>) -> ExitCode {
    match ended {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!(error = %app::chain(&error), "stopped");
            ExitCode::from(if error.is_configuration() {
                MISCONFIGURED
            } else {
                FAILED
            })
        }
    }
}

/// Prints what a command has made, or why it failed.
fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(message) => {
            print_error(&message);
            ExitCode::from(FAILED)
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, or the command has none"
)]
fn print_error(message: &str) {
    for line in message.lines() {
        eprintln!("musterd: {}", escaped(line));
    }
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn print(text: &str) {
    print!("{text}");
}
