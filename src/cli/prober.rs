//! `musterd prober`: a prober without a registry, at the broker of one or more daemons.

use std::process::ExitCode;

use tokio::sync::Notify;

use super::{
    outcome::MISCONFIGURED,
    print_error,
    serve::{deepen_stacks, run_logged},
};
use crate::{
    app,
    config::{Config, Sources, cores},
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

pub(super) fn run(arguments: Arguments, sources: &Sources, mut config: Config) -> ExitCode {
    if let Some(url) = arguments.amqp_url {
        config.transport.amqp_url = url;
    }
    if let Some(concurrency) = arguments.concurrency {
        config.health.queue_probes_max = concurrency.into();
    }
    if config.transport.amqp_url.is_empty() {
        print_error("no broker is given: set --amqp-url or transport.amqp_url");
        return ExitCode::from(MISCONFIGURED);
    }
    deepen_stacks(&config);
    let threads = config.threads.other(cores(), 0);
    run_logged(sources, config, threads, async |config, _logs, signals| {
        let never = Notify::new();
        let stopped =
            signals.wait_for_stop(&never, || tracing::info!("a prober has nothing to reload"));
        app::run_prober(config, stopped).await
    })
}
