//! Arguments and the commands of the binary: they parse, call `app`, and turn the end into an exit code.

mod ask;
mod health;
mod migrate;
mod prober;
mod transport;

use std::{io, path::PathBuf, process::ExitCode, thread::scope};

use clap::{Parser, Subcommand};
use parking_lot::Mutex;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    app::{self, App, AppError, Logs},
    config::{self, Config, Sources, cores},
};

/// Exit code: a room failed or was overdue, or the daemon could not start.
const FAILED: u8 = 1;
/// Exit code: the configuration or the arguments are wrong.
const MISCONFIGURED: u8 = 2;

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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (what happens without a command, too)
    Serve,
    /// Ask the running daemon whether it is healthy; exit code 0 means yes
    Health(health::Arguments),
    /// Ask the running daemon about its migration to the broker, and tell it what to do
    Migrate(migrate::Arguments),
    /// Show which way each channel of the running daemon goes, or change it
    Transport(transport::Arguments),
    /// Probe what daemons ask over AMQP, for as long as it runs
    Prober(prober::Arguments),
    /// Read the configuration, report every fault and stop
    CheckConfig,
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
    let sources = Sources {
        file: arguments.config,
        flags: arguments.set,
        ..Sources::default()
    }
    .with_environment();
    let config = match sources.load() {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    match arguments.command {
        None | Some(Command::Serve) => serve(&sources, config),
        Some(Command::Health(arguments)) => health::run(&arguments, &config),
        Some(Command::Transport(arguments)) => transport::run(&arguments, &config),
        Some(Command::Migrate(arguments)) => migrate::run(&arguments, &config),
        Some(Command::Prober(arguments)) => prober::run(arguments, config),
        Some(Command::CheckConfig) => match app::check(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&app::chain(&error));
                ExitCode::from(MISCONFIGURED)
            }
        },
    }
}

fn deepen_stacks(config: &Config) {
    if config.transport.amqp_url.is_empty() {
        return;
    }
    if let Err(error) = config::deepen_stacks() {
        complain(&format!("the stacks of threads stay small: {error}"));
    }
}

fn serve(sources: &Sources, config: Config) -> ExitCode {
    deepen_stacks(&config);
    let (threads, cores) = (config.threads, cores());
    let http = (!config.http.listen.is_empty()).then(|| threads.http(cores));
    let others = threads.other(cores, http.unwrap_or(0));
    let http = match http.map(|threads| runtime("musterd-http", threads)) {
        None => None,
        Some(Ok(http)) => Some(http),
        Some(Err(failed)) => return failed,
    };
    let ended = run_logged(config, others, async |config, logs, signals| {
        let http = http.as_ref().map(|http| http.handle().clone());
        let app = App::start_on(&http.unwrap_or_else(Handle::current), config).await?;
        let reload = app.reloader(logs);
        app.run_until(signals.wait_for_stop(|| reload.apply(sources.load())))
            .await
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
    spare(threads).and_then(|()| build()).map_err(|error| {
        complain(&format!("no {threads} threads to run on: {error}"));
        ExitCode::from(FAILED)
    })
}

/// Whether the system has so many threads to spare: a runtime that gets too few does not fail, it hangs.
fn spare(threads: usize) -> io::Result<()> {
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

/// Runs what logs, on so many threads, and lasts until a signal ends it.
fn run_logged(
    config: Config,
    threads: usize,
    run: impl AsyncFnOnce(Config, Logs, Signals) -> Result<(), AppError>,
) -> ExitCode {
    let logs = match Logs::start(&config.log) {
        Ok(logs) => logs,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let runtime = match runtime("musterd-other", threads) {
        Ok(runtime) => runtime,
        Err(failed) => return failed,
    };
    let ended = runtime.block_on(async {
        // Before anything listens, so that a signal never finds the system's own way of handling it.
        let signals = Signals::catch().map_err(AppError::Signals)?;
        run(config, logs, signals).await
    });
    // Tasks that block are not waited for: every room has ended or was given up.
    runtime.shutdown_background();
    self::ended(ended)
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

/// The signals that mean something to the daemon.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at SIGTERM or SIGINT; calls `reload` at each SIGHUP.
    async fn wait_for_stop(mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hangup.recv() => reload(),
            }
        }
        tracing::info!("asked to stop");
    }
}

#[expect(clippy::print_stderr, reason = "there is no log yet, or no daemon")]
fn complain(message: &str) {
    eprintln!("musterd: {message}");
}
