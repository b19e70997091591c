//! Long-running commands: the daemon, and what it shares with the prober.

use std::{io, process::ExitCode, thread::scope, time::Duration};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{
    outcome::{FAILED, MISCONFIGURED},
    print_error, service_manager,
    signals::Signals,
};
use crate::{
    app::{self, App, AppError, Logs},
    config::{self, Config, Sources, Values, cores},
};

/// How long the last lines of the log may take to be written.
const LOG_PATIENCE: Duration = Duration::from_millis(500);

/// Only the client of another broker needs large stacks.
pub(super) fn deepen_stacks(config: &Config) {
    if cfg!(not(feature = "amqp")) || config.transport.amqp_url.is_empty() {
        return;
    }
    if let Err(error) = config::deepen_stacks() {
        print_error(&format!("threads keep small stacks: {error}"));
    }
}

pub(super) fn run(sources: &Sources, mut config: Config, values: Values) -> ExitCode {
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
        service_manager::ready();
        let asked = app.reload_requests();
        let stop = async {
            signals
                .wait_for_stop(&asked, || reload.apply(sources.load_values()))
                .await;
            service_manager::stopping();
        };
        tokio::select! {
            ended = app.run_until(stop) => ended,
            () = service_manager::report_working() => Ok(()),
        }
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
pub(super) fn run_logged(
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
    let code = exit_code(ended);
    logs.flush(LOG_PATIENCE);
    code
}

fn exit_code(ended: Result<(), AppError>) -> ExitCode {
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
