//! `musterd tls`: certificates for a first try.

use std::{path::PathBuf, process::ExitCode};

use super::outcome::finish;
use crate::{app::chain, config::Config, tls::make};

/// Names that a daemon has on its own machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long the certificates are valid, in years.
const YEARS: i32 = 1;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CliCommand {
    /// Make a root and a server's certificate for a first try, valid for a year
    SelfSigned {
        /// A host name or address of the daemon, besides localhost; may be repeated
        #[arg(long = "name", value_name = "HOST")]
        names: Vec<String>,
        /// The folder for the files
        #[arg(long, value_name = "DIR", default_value = "tls")]
        dir: PathBuf,
    },
}

pub(super) fn run(arguments: Arguments, config: &Config) -> ExitCode {
    match arguments.command {
        CliCommand::SelfSigned { names, dir } => finish(self_signed(names, dir, config), false),
    }
}

fn self_signed(mut names: Vec<String>, dir: PathBuf, config: &Config) -> Result<String, String> {
    names.extend(LOCAL.map(str::to_owned));
    let today = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now());
    let unsigned = |number: i8| u8::try_from(number).unwrap_or(1);
    let from = (
        i32::from(today.year()),
        unsigned(today.month()),
        unsigned(today.day()),
    );
    let made = make(&dir, &names, from, YEARS).map_err(|error| chain(&error))?;
    // Whatever the daemon's folder is.
    let whole = |path: PathBuf| path.canonicalize().unwrap_or(path);
    let (ca, certificate, key) = (whole(made.ca), whole(made.certificate), whole(made.key));
    let port = config
        .http
        .listen
        .rsplit_once(':')
        .map_or("8000", |(_, port)| port);
    Ok(format!(
        "Wrote a root, a server's certificate and their keys for {}.\n\n\
         Put this into the configuration and start the daemon:\n\n\
         [http.tls]\n\
         certificate = \"{}\"\n\
         key = \"{}\"\n\n\
         Then try it:\n\n\
         curl --cacert {} https://localhost:{port}/health\n",
        names.join(", "),
        certificate.display(),
        key.display(),
        ca.display(),
    ))
}
