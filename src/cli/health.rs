//! `musterd health`: asks the running daemon, for a container's health check.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{FAILED, print_error};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the daemon listens; by default what http.listen says
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<String>,
    /// How long to wait for the answer, in seconds
    #[arg(long, default_value_t = 3)]
    timeout: u64,
}

pub(super) fn run(arguments: &Arguments, config: &Config) -> ExitCode {
    let listen = arguments.address.as_ref().unwrap_or(&config.http.listen);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        print_error("a thread can't be started");
        return ExitCode::from(FAILED);
    };
    let limit = Duration::from_secs(arguments.timeout);
    let answer = runtime.block_on(async { timeout(limit, ask(listen)).await });
    match answer {
        Ok(Ok(200)) => ExitCode::SUCCESS,
        Ok(Ok(status)) => fail(&format!("{listen} answers {status}")),
        Ok(Err(error)) => fail(&format!("{listen} does not answer: {error}")),
        Err(_) => fail(&format!("{listen} does not answer within {limit:?}")),
    }
}

fn fail(message: &str) -> ExitCode {
    print_error(message);
    ExitCode::from(FAILED)
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn ask(listen: &str) -> Result<u16, AnyError> {
    let stream = TcpStream::connect(reachable(listen)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health")
        // Accepted whatever http.hosts says.
        .header("host", "localhost")
        .body(Empty::<Bytes>::new())?;
    tokio::select! {
        answer = sender.send_request(request) => Ok(answer?.status().as_u16()),
        ended = connection => Err(ended.err().map_or_else(|| "the connection ended".into(), Into::into)),
    }
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
