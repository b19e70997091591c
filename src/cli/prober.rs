//! `musterd prober`: a prober without a registry, at the broker of one or more daemons.

use std::process::ExitCode;

use super::{FAILED, MISCONFIGURED, Signals, complain};
use crate::{
    app::{self, AppError, Logs},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The broker, such as amqp://user:password@host:5672/; by default transport.amqp_url
    #[arg(long, value_name = "URL")]
    amqp_url: Option<String>,
    /// The most probes at once; by default health.queue_probes_max
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
}

pub(super) fn run(arguments: Arguments, mut config: Config) -> ExitCode {
    if let Some(url) = arguments.amqp_url {
        config.transport.amqp_url = url;
    }
    if let Some(concurrency) = arguments.concurrency {
        config.health.queue_probes_max = concurrency;
    }
    if config.transport.amqp_url.is_empty() {
        complain("which broker? say --amqp-url, or set transport.amqp_url");
        return ExitCode::from(MISCONFIGURED);
    }
    if let Err(error) = Logs::start(&config.log) {
        complain(&error.to_string());
        return ExitCode::from(MISCONFIGURED);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("no threads to run on: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let ended = runtime.block_on(async {
        let signals = Signals::catch().map_err(AppError::Signals)?;
        let stopped = signals.wait_for_stop(|| tracing::info!("a prober has nothing to reload"));
        app::run_prober(config, stopped).await
    });
    runtime.shutdown_background();
    super::ended(ended)
}
