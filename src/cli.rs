//! Arguments and the commands of the binary: they parse, call `app`, and turn the end into an exit code.

mod ask;
mod backup;
mod broker;
mod completions;
mod discover;
mod hash;
mod health;
mod instance;
mod migrate;
mod outcome;
mod prober;
mod question;
mod reach;
mod run;
mod sd_file;
mod serve;
mod service_manager;
mod services;
mod settings;
mod signals;
mod store;
mod stream;
mod table;
mod tls;
mod token;
mod transport;
mod watchers;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};

use self::{
    ask::{Daemon, Output},
    outcome::{EXIT_CODES, MISCONFIGURED, finish},
    reach::{CertificateArguments, ClientTrust},
    table::TableView,
};
use crate::{
    config::{Config, Sources},
    telemetry::escaped,
};

#[derive(Debug, Parser)]
#[command(
    name = "musterd",
    version,
    about = "A service registry with a message broker inside it",
    after_help = "Examples:
  musterd                       run the daemon
  musterd services              list what is registered"
)]
struct Arguments {
    /// Configuration file (TOML); config/default.toml names every key
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, over the file and the environment; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    client: ClientArguments,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

/// How client commands ask the daemon and show its answers.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of commands that ask the running daemon")]
struct ClientArguments {
    /// The daemon, as a URL or HOST:PORT; by default MUSTERD_ADDRESS, then what http.listen says
    #[arg(long, global = true, value_name = "URL", alias = "url")]
    address: Option<String>,
    /// The token with which it is asked; the variable MUSTERD_TOKEN and --token-file do not show it to other users of
    /// this machine
    #[arg(long, global = true, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with that token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    certificates: CertificateArguments,
    /// How long an answer may take, such as 10s
    #[arg(long, global = true, value_name = "DURATION", value_parser = instance::duration)]
    timeout: Option<Duration>,
    /// How answers are shown
    #[arg(short, long, global = true, value_enum, default_value_t = OutputArgument::Table)]
    output: OutputArgument,
    #[arg(long, global = true, hide = true)]
    json: bool,
    /// These columns of a table, in this order
    #[arg(long, global = true, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// No headings of columns
    #[arg(long, global = true)]
    no_header: bool,
    /// Sort a table by this column; with - before it, downwards
    #[arg(
        long,
        global = true,
        value_name = "[-]COLUMN",
        allow_hyphen_values = true
    )]
    sort: Option<String>,
    /// Colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColourArgument::Auto)]
    color: ColourArgument,
    /// No progress and no hints
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum OutputArgument {
    /// A table or words
    Table,
    /// The daemon's answer; one object per line for streams
    Json,
    /// A table with more columns
    Wide,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ColourArgument {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the daemon (the default command)
    Serve,
    /// List the services
    Services(services::ServicesArguments),
    /// List the instances of a service
    Instances(services::InstancesArguments),
    /// Show one instance: checks with their last results, lease, metadata
    Show(services::ShowArguments),
    /// Register an instance, or change what is registered
    Register(instance::RegisterArguments),
    /// Remove instances
    Deregister(instance::DeregisterArguments),
    /// Renew the leases of instances
    Heartbeat(instance::HeartbeatArguments),
    /// Probe an instance now; exit code 5 if a check fails
    Check(instance::CheckArguments),
    /// Take instances out of discovery while they finish their work: status stopping
    Drain(instance::OverrideArguments),
    /// Take instances out of discovery: status unhealthy
    Disable(instance::OverrideArguments),
    /// Lift what drain or disable has set
    Enable(instance::EnableArguments),
    /// List the healthy instances of a service, in a form for programs
    Discover(discover::DiscoverArguments),
    /// Print host:port of one healthy instance
    Pick(discover::PickArguments),
    /// Show changes when they come
    Watch(stream::WatchArguments),
    /// Show past changes
    Events(stream::EventsArguments),
    /// List, add and remove webhooks
    #[command(subcommand)]
    Watchers(watchers::WatchersCommand),
    /// List, set, remove and resolve routes of gateways
    #[command(subcommand)]
    Routes(watchers::RoutesCommand),
    /// Show or change the mode of each channel
    Transport(transport::Arguments),
    /// Show or control the migration to the broker
    Migrate(migrate::Arguments),
    /// Show the embedded broker; peek into, purge and delete its queues
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Make, show, rotate and revoke tokens
    Token(token::Arguments),
    /// Start a process, register it as an instance, and remove the instance when the process ends
    Run(run::RunArguments),
    #[command(hide = true)]
    RunShim(run::ShimArguments),
    /// Ask whether the daemon is healthy; exit code 0 means yes, 5 no
    Health,
    /// Make certificates for a first try with TLS
    Tls(tls::Arguments),
    /// Run a prober: it takes health checks from the broker and answers with verdicts
    Prober(prober::Arguments),
    /// Keep a file of targets for Prometheus (file_sd) up to date
    SdFile(sd_file::Arguments),
    /// Check, repair or show the store of a stopped daemon
    Store(store::Arguments),
    /// Write everything that the running daemon stores, messages in queues included, into a file
    Backup(backup::BackupArguments),
    /// Put a backup into the folder of a stopped daemon; what was there is kept aside
    Restore(backup::RestoreArguments),
    /// Check, print and explain the configuration
    #[command(subcommand, name = "config")]
    Settings(settings::ConfigCommand),
    #[command(hide = true)]
    CheckConfig(settings::CheckArguments),
    /// Read a password from standard input and print its hash, for `broker.users.<name>.password_hash`
    HashPassword,
    /// Print the completions for a shell
    Completions(completions::Arguments),
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man(completions::ManArguments),
    /// Print the version
    Version,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write it as KEY=VALUE, such as http.listen=127.0.0.1:9000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// The command line, for man pages and completions.
fn command_line() -> clap::Command {
    let codes = EXIT_CODES.map(|(code, meaning)| format!("  {code:<4} {meaning}"));
    <Arguments as clap::CommandFactory>::command()
        .after_long_help(format!("Exit codes:\n{}", codes.join("\n")))
}

/// Runs the command the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let command = match arguments.command {
        Some(CliCommand::HashPassword) => return hash::run(),
        Some(CliCommand::Completions(arguments)) => return completions::run(arguments),
        Some(CliCommand::RunShim(arguments)) => return run::shim(&arguments),
        Some(CliCommand::Man(arguments)) => return completions::man(&arguments),
        Some(CliCommand::Version) => {
            return finish::<_, String>(
                Ok(format!("musterd {}\n", env!("CARGO_PKG_VERSION"))),
                false,
            );
        }
        command => command.unwrap_or(CliCommand::Serve),
    };
    let sources = Sources {
        file: arguments.config,
        flags: arguments.set,
        ..Sources::default()
    }
    .with_environment();
    match command {
        CliCommand::CheckConfig(arguments) => return settings::check_config(&arguments, &sources),
        CliCommand::Settings(command) => return settings::run(&command, &sources),
        _ => {}
    }
    let (config, values) = match sources.load_values() {
        Ok(loaded) => loaded,
        Err(error) => {
            print_error(&error.to_string());
            return ExitCode::from(MISCONFIGURED);
        }
    };
    match command {
        CliCommand::Serve => serve::run(&sources, config, values),
        CliCommand::Tls(arguments) => tls::run(arguments, &config),
        CliCommand::Prober(arguments) => prober::run(arguments, &sources, config),
        CliCommand::Restore(arguments) => backup::restore(arguments, &config),
        command => run_client(command, arguments.client, &sources, &config),
    }
}

/// Runs a command that asks the running daemon.
fn run_client(
    command: CliCommand,
    arguments: ClientArguments,
    sources: &Sources,
    config: &Config,
) -> ExitCode {
    let output = output(&arguments, sources);
    let address = arguments.address.as_deref();
    let address = address.or_else(|| sources.variable("MUSTERD_ADDRESS"));
    let token = match token(arguments.token, arguments.token_file, sources) {
        Ok(token) => token,
        Err(error) => {
            print_error(&error);
            return ExitCode::from(MISCONFIGURED);
        }
    };
    let trust = ClientTrust::new(&arguments.certificates, sources);
    let mut daemon = Daemon::at(address, config, token.as_deref(), &trust);
    daemon.timeout = arguments.timeout.unwrap_or(daemon.timeout);
    daemon.output = output;
    let (daemon, as_json) = (&daemon, daemon.output.json);
    match command {
        CliCommand::Services(arguments) => finish(services::services(&arguments, daemon), as_json),
        CliCommand::Instances(arguments) => {
            finish(services::instances(&arguments, daemon), as_json)
        }
        CliCommand::Show(arguments) => finish(services::show(&arguments, daemon), as_json),
        CliCommand::Register(arguments) => finish(instance::register(&arguments, daemon), as_json),
        CliCommand::Deregister(arguments) => {
            finish(instance::deregister(&arguments, daemon), as_json)
        }
        CliCommand::Heartbeat(arguments) => {
            finish(instance::heartbeat(&arguments, daemon), as_json)
        }
        CliCommand::Check(arguments) => finish(instance::check(&arguments, daemon), as_json),
        CliCommand::Drain(arguments) => finish(
            instance::set_override(&arguments, "stopping", daemon),
            as_json,
        ),
        CliCommand::Disable(arguments) => finish(
            instance::set_override(&arguments, "unhealthy", daemon),
            as_json,
        ),
        CliCommand::Enable(arguments) => finish(instance::enable(&arguments, daemon), as_json),
        CliCommand::Discover(arguments) => finish(discover::discover(&arguments, daemon), as_json),
        CliCommand::Pick(arguments) => finish(discover::pick(&arguments, daemon), as_json),
        CliCommand::Watch(arguments) => finish(stream::watch(&arguments, daemon), as_json),
        CliCommand::Events(arguments) => finish(stream::events(&arguments, daemon), as_json),
        CliCommand::Watchers(command) => finish(watchers::watchers(&command, daemon), as_json),
        CliCommand::Routes(command) => finish(watchers::routes(&command, daemon), as_json),
        CliCommand::Broker(command) => finish(broker::run(&command, daemon), as_json),
        CliCommand::Token(arguments) => token::run(&arguments, daemon),
        CliCommand::Transport(arguments) => transport::run(&arguments, daemon),
        CliCommand::Migrate(arguments) => migrate::run(&arguments, daemon),
        CliCommand::Store(arguments) => store::run(arguments, config, daemon),
        CliCommand::Backup(arguments) => backup::backup(&arguments, daemon),
        CliCommand::Run(arguments) => run::run(arguments, daemon, sources.variable("PATH")),
        CliCommand::SdFile(arguments) => finish(sd_file::run(&arguments, daemon), as_json),
        CliCommand::Health => health::run(daemon, arguments.timeout),
        // The others do not ask the daemon.
        _ => ExitCode::SUCCESS,
    }
}

/// How answers are shown: cut and coloured on a terminal only.
fn output(arguments: &ClientArguments, sources: &Sources) -> Output {
    let on_terminal = io::stdout().is_terminal();
    let colour = match arguments.color {
        ColourArgument::Always => true,
        ColourArgument::Never => false,
        ColourArgument::Auto => {
            on_terminal
                && sources.variable("NO_COLOR").is_none_or(str::is_empty)
                && sources.variable("TERM") != Some("dumb")
        }
    };
    let width = || rustix::termios::tcgetwinsize(io::stdout()).ok();
    Output {
        json: arguments.json || arguments.output == OutputArgument::Json,
        view: TableView {
            columns: arguments.columns.clone(),
            no_header: arguments.no_header,
            sort: arguments.sort.clone(),
            wide: arguments.output == OutputArgument::Wide,
            width: on_terminal
                .then(width)
                .flatten()
                .map(|size| size.ws_col.into())
                .filter(|width| *width > 0),
            colour,
        },
        quiet: arguments.quiet,
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

#[expect(
    clippy::print_stderr,
    reason = "there is no log yet, or the command has none"
)]
fn print_error(message: &str) {
    for line in message.lines() {
        eprintln!("musterd: {}", escaped(line));
    }
}

#[expect(clippy::print_stderr, reason = "the problem as the daemon answered it")]
fn print_raw_error(text: &str) {
    eprint!("{text}");
}

#[cfg(test)]
mod tests;
