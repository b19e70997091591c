//! `musterd run`: starts a process, registers it as an instance, and removes the instance when the process ends.

mod child;
mod policy;
mod registrar;

use std::{
    io, net::TcpListener, path::PathBuf, process::ExitCode, sync::mpsc, thread, time::Duration,
};

use clap::ValueEnum;
use rustix::process::Signal;
use serde_json::Value;
use tokio::{
    runtime::Builder,
    sync::mpsc::{Receiver, channel},
    time::{Instant, sleep_until},
};

pub(super) use self::child::{ShimArguments, shim};
use self::{
    child::{Caught, Child, ChildEnd, RunEvent, find},
    policy::{Restart, RestartPolicy},
    registrar::{ReadyTest, Registrar, RegistrarNotice, RegistrarRequest},
};
use super::{
    ask::Daemon,
    instance::{InstanceArguments, duration},
    print_error,
};

/// Exit code: run itself failed.
const RUN_FAILED: u8 = 125;
/// The longest that a drain or a deregistration is waited for.
const DAEMON_PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Examples:
  musterd run --name web --port 8080 --check http:/health -- ./server
  musterd run --name worker --port 0 --restart on-failure -- sh -c 'exec worker --port \"$PORT\"'",
    after_long_help = "Exit codes: the command's own; 128+n if signal n ended it; 125 run itself failed; 126 the command \
                       cannot be executed; 127 it is not found"
)]
pub(super) struct RunArguments {
    /// The service
    #[arg(long)]
    name: String,
    /// The port at which the command listens; 0 takes a free one, which the command finds in PORT
    #[arg(long)]
    port: u16,
    #[command(flatten)]
    instance: InstanceArguments,
    /// The lease; a heartbeat is sent after each third of it
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    ttl: Duration,
    /// When the instance is registered: tcp (the port accepts), http:/path (a 2xx), or none (at once)
    #[arg(long, default_value = "tcp", value_parser = ReadyTest::parse)]
    ready: ReadyTest,
    /// How long the command may take to be ready
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    ready_timeout: Duration,
    /// When the command is started again
    #[arg(long, value_enum, default_value_t = RestartArgument::Never)]
    restart: RestartArgument,
    /// The most restarts in a row
    #[arg(long, default_value_t = 5)]
    restart_max: u32,
    /// Between taking the instance out of discovery and the signal to the command
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    drain: Duration,
    /// Between the signal and SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    grace: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RestartArgument {
    /// Never
    Never,
    /// After a failure
    OnFailure,
    /// Always, unless a signal stopped it
    Always,
}

impl From<RestartArgument> for RestartPolicy {
    fn from(argument: RestartArgument) -> Self {
        match argument {
            RestartArgument::Never => Self::Never,
            RestartArgument::OnFailure => Self::OnFailure,
            RestartArgument::Always => Self::Always,
        }
    }
}

/// One line per change of state.
fn say(text: &str) {
    print_error(&format!("run: {text}"));
}

pub(super) fn run(
    mut arguments: RunArguments,
    daemon: &Daemon<'_>,
    path: Option<&str>,
) -> ExitCode {
    let program = match find(&arguments.command[0], path) {
        Ok(program) => program,
        Err((code, message)) => {
            say(&message);
            return ExitCode::from(code);
        }
    };
    match supervise(&mut arguments, &program, daemon) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(RUN_FAILED)
        }
    }
}

fn supervise(
    arguments: &mut RunArguments,
    program: &PathBuf,
    daemon: &Daemon<'_>,
) -> io::Result<u8> {
    if arguments.port == 0 {
        arguments.port = TcpListener::bind((&*arguments.instance.host, 0))?
            .local_addr()?
            .port();
    }
    let (notices, noticed) = channel(1);
    let (requests, requested) = mpsc::channel();
    let registrar = Registrar::new(daemon.clone(), body(arguments), arguments, notices);
    thread::scope(|scope| {
        thread::Builder::new()
            .name("musterd-registrar".to_owned())
            .spawn_scoped(scope, move || registrar.serve(&requested))?;
        // The parent-death signal is bound to the thread that starts the child: this one ends with the process.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let supervisor = Supervisor {
                arguments,
                program,
                url: &daemon.url,
                requests,
                noticed,
                caught: Caught::catch()?,
            };
            supervisor.run().await
        })
    })
}

/// The registration; its id is the same after a restart of the command.
fn body(arguments: &RunArguments) -> Value {
    let ttl = format!("{}ms", arguments.ttl.as_millis());
    let RunArguments { name, port, .. } = arguments;
    arguments.instance.body(name, *port, Some(&ttl))
}

/// Starts the command, again as the policy says, until it has ended for good.
struct Supervisor<'a> {
    arguments: &'a RunArguments,
    program: &'a PathBuf,
    url: &'a str,
    requests: mpsc::Sender<RegistrarRequest>,
    noticed: Receiver<RegistrarNotice>,
    caught: Caught,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug)]
enum Stopping {
    No,
    /// Out of discovery; the signal to the command follows.
    Draining(Signal, Instant),
    /// The command has the signal; SIGKILL follows.
    Signalled(Instant),
    Killed,
}

impl Stopping {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Draining(_, at) | Self::Signalled(at) => Some(at),
            Self::No | Self::Killed => None,
        }
    }
}

/// How one start of the command ended.
struct RunEnd {
    child: ChildEnd,
    /// run has stopped it.
    stopped: bool,
    /// It ends everything, with this code.
    failed: Option<u8>,
}

impl Supervisor<'_> {
    async fn run(mut self) -> io::Result<u8> {
        let mut policy = Restart::new(self.arguments.restart.into(), self.arguments.restart_max);
        loop {
            let started = Instant::now();
            let end = self.once().await?;
            let code = end.child.code();
            say(&format!("{} {}", self.arguments.command[0], end.child));
            if let Some(code) = end.failed {
                return Ok(code);
            }
            let Some(pause) = policy.after(code, end.stopped, started.elapsed()) else {
                return Ok(code);
            };
            say(&format!(
                "starting it again in {:.1} s",
                pause.as_secs_f64()
            ));
            let until = sleep_until(Instant::now() + pause);
            tokio::select! {
                () = until => {}
                // Nothing runs: there is nothing to stop.
                _ = self.caught.stop_signal() => return Ok(code),
            }
        }
    }

    /// Runs the command once, from its start to the deregistration.
    async fn once(&mut self) -> io::Result<RunEnd> {
        let arguments = self.arguments;
        let environment = [
            ("PORT", arguments.port.to_string()),
            ("MUSTERD_ADDRESS", self.url.to_owned()),
            (
                "MUSTERD_SERVICE_ID",
                arguments
                    .instance
                    .service_id(&arguments.name, arguments.port),
            ),
            ("MUSTERD_SERVICE_NAME", arguments.name.clone()),
        ];
        let child = Child::start(self.program, &arguments.command, &environment)?;
        say(&format!(
            "{} started, process {}",
            arguments.command[0],
            child.pid()
        ));
        self.send(RegistrarRequest::Begin);
        let (mut stopping, mut failed) = (Stopping::No, None);
        let end = loop {
            let deadline = stopping.deadline();
            let at = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                biased;
                event = self.caught.next(child.pid()) => match event {
                    RunEvent::Ended(end) => break end,
                    RunEvent::Stop(signal) => stopping = self.next(stopping, &child, signal).await,
                    RunEvent::PassOn(signal) => child.signal(signal),
                },
                Some(notice) = self.noticed.recv() => {
                    let RegistrarNotice::Failed(message) = notice;
                    say(&message);
                    failed = Some(RUN_FAILED);
                    child.signal(Signal::TERM);
                    stopping = Stopping::Signalled(Instant::now() + arguments.grace);
                }
                () = sleep_until(at), if deadline.is_some() => {
                    let signal = match stopping {
                        Stopping::Draining(signal, _) => signal,
                        _ => Signal::KILL,
                    };
                    stopping = self.advance(stopping, &child, signal);
                }
            }
        };
        child.clear();
        self.caught.reap();
        self.ask(RegistrarRequest::End, DAEMON_PATIENCE[1]).await;
        Ok(RunEnd {
            child: end,
            stopped: !matches!(stopping, Stopping::No),
            failed,
        })
    }

    /// A signal asks for a stop: the first begins it, the second skips the waits, the third kills.
    async fn next(&self, stopping: Stopping, child: &Child, signal: Signal) -> Stopping {
        match stopping {
            Stopping::No => {
                say(&format!("{}: draining", child::name(signal)));
                let reason = format!("run: {}", child::name(signal));
                self.ask(
                    |reply| RegistrarRequest::Drain(reason, reply),
                    DAEMON_PATIENCE[0],
                )
                .await;
                Stopping::Draining(signal, Instant::now() + self.arguments.drain)
            }
            Stopping::Draining(first, _) => self.advance(stopping, child, first),
            Stopping::Signalled(_) | Stopping::Killed => {
                self.advance(Stopping::Signalled(Instant::now()), child, Signal::KILL)
            }
        }
    }

    fn advance(&self, stopping: Stopping, child: &Child, signal: Signal) -> Stopping {
        match stopping {
            Stopping::Draining(..) => {
                say(&format!(
                    "{} to process {}",
                    child::name(signal),
                    child.pid()
                ));
                child.signal(signal);
                Stopping::Signalled(Instant::now() + self.arguments.grace)
            }
            _ => {
                say(&format!("SIGKILL to process {} and its group", child.pid()));
                child.kill_group();
                Stopping::Killed
            }
        }
    }

    fn send(&self, request: RegistrarRequest) {
        // Its thread ends after this one only.
        let _ = self.requests.send(request);
    }

    /// Waits until the registrar has done it, for so long.
    async fn ask(
        &self,
        request: impl FnOnce(tokio::sync::oneshot::Sender<()>) -> RegistrarRequest,
        patience: Duration,
    ) {
        let (reply, replied) = tokio::sync::oneshot::channel();
        self.send(request(reply));
        if tokio::time::timeout(patience, replied).await.is_err() {
            say("the daemon does not answer; the instance goes when its lease ends");
        }
    }
}
