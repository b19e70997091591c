//! `musterd health`: asks the running daemon, for a container's health check.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use super::{
    ask::Daemon,
    outcome::{CliError, CommandOutput, NO, finish},
};

/// How long the answer may take without --timeout.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(daemon: &Daemon<'_>, timeout: Option<Duration>) -> ExitCode {
    let mut daemon = daemon.clone();
    daemon.timeout = timeout.unwrap_or(TIMEOUT);
    let healthy = daemon
        .get("/health", "")
        .map_err(|error| match error.problem {
            Some(_) => CliError { code: NO, ..error },
            None => error,
        });
    finish(
        healthy.map(|_| CommandOutput::default()),
        daemon.output.json,
    )
}

/// A daemon that listens on every address is asked on the loopback one.
pub(super) fn reachable(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(mut address) if address.ip().is_unspecified() => {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
            address.to_string()
        }
        _ => listen.to_owned(),
    }
}
