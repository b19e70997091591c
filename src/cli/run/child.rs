//! The process of `musterd run`: its start, its group, its signals and its end.

use std::{
    collections::BTreeMap,
    fmt, fs,
    future::poll_fn,
    io,
    os::unix::{
        fs::PermissionsExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    task::{Context, Poll},
};

use nix::sys::signal::{SigSet, Signal as BlockedSignal};
use rustix::{
    process::{
        Pid, Signal, WaitOptions, getpgrp, getppid, kill_process, kill_process_group,
        set_child_subreaper, set_parent_process_death_signal, wait,
    },
    termios::{tcgetpgrp, tcsetpgrp},
};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

/// Exit codes of shells: the command can't be executed, is not found.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// The program itself, to start the shim.
const SELF: &str = "/proc/self/exe";

/// The program of a command, searched in `path` as a shell does.
///
/// # Errors
/// The exit code and the reason: it is not found, or is no program.
pub(super) fn find(command: &str, path: Option<&str>) -> Result<PathBuf, (u8, String)> {
    let candidates: Vec<PathBuf> = match command.contains('/') {
        true => vec![command.into()],
        false => {
            let folders = path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':');
            folders
                .map(|folder| Path::new(folder).join(command))
                .collect()
        }
    };
    let mut refused = (NOT_FOUND, format!("{command} is not found"));
    for file in candidates {
        match fs::metadata(&file) {
            Ok(about) if about.is_file() && about.permissions().mode() & 0o111 != 0 => {
                return Ok(file);
            }
            Ok(_) => refused = (NOT_EXECUTABLE, format!("{} is no program", file.display())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused = (NOT_EXECUTABLE, format!("{}: {error}", file.display()));
            }
            Err(_) => {}
        }
    }
    Err(refused)
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShimArguments {
    /// The process whose end is to end this one
    #[arg(long)]
    parent: i32,
    /// The program
    #[arg(long)]
    program: PathBuf,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// In the new process: it gets SIGTERM when run ends in any way, and becomes the command.
pub(in crate::cli) fn shim(arguments: &ShimArguments) -> ExitCode {
    let armed = set_parent_process_death_signal(Some(Signal::TERM));
    let parent = getppid().map(Pid::as_raw_nonzero);
    if armed.is_err() || parent.map(i32::from) != Some(arguments.parent) {
        super::say("the parent process has ended");
        return ExitCode::from(super::RUN_FAILED);
    }
    // Run blocks a signal of terminals; the command does not.
    let unblocked = SigSet::empty().thread_set_mask();
    if let Err(error) = unblocked {
        super::say(&format!("signals stay blocked: {error}"));
    }
    let error = Command::new(&arguments.program)
        .arg0(&arguments.command[0])
        .args(&arguments.command[1..])
        .exec();
    super::say(&format!("{}: {error}", arguments.program.display()));
    ExitCode::from(NOT_EXECUTABLE)
}

/// The running command; its group has its number.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// Its group is in the foreground of the terminal, in the place of that of this process.
    has_terminal: bool,
}

impl Child {
    /// Starts it in a group of its own, which gets the terminal if this process has it: not as a job in the background.
    pub(super) fn start(
        program: &Path,
        command: &[String],
        environment: &[(&str, String)],
    ) -> io::Result<Self> {
        let own = rustix::process::getpid().as_raw_nonzero().to_string();
        let started = Command::new(SELF)
            .args(["run-shim", "--parent", &own, "--program"])
            .arg(program)
            .arg("--")
            .args(command)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no number"))?;
        let in_foreground = tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
        // Without it Ctrl-C ends run only, which stops the command then.
        let has_terminal = in_foreground && tcsetpgrp(io::stdin(), pid).is_ok();
        Ok(Self { pid, has_terminal })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().into()
    }

    /// After its end: ends what it has left in its group, and takes the terminal back, so that Ctrl-C reaches run.
    pub(super) fn clear(&self) {
        self.kill_group();
        if self.has_terminal {
            let _ = tcsetpgrp(io::stdin(), getpgrp());
        }
    }

    /// To the process itself; it may have ended already.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    pub(super) fn kill_group(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
    }
}

/// How the command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ChildEnd {
    Exited(u8),
    Killed(i32),
}

impl ChildEnd {
    fn of(status: ExitStatus) -> Option<Self> {
        let exited = status.code().map(|code| {
            // Exit codes have 8 bits.
            Self::Exited(u8::try_from(code).unwrap_or(u8::MAX))
        });
        exited.or_else(|| status.signal().map(Self::Killed))
    }

    /// As a shell reports it.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl fmt::Display for ChildEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Killed(number) => match Signal::from_named_raw(number) {
                Some(signal) => write!(f, "was ended by {}", name(signal)),
                None => write!(f, "was ended by signal {number}"),
            },
        }
    }
}

/// A signal's name.
pub(super) fn name(signal: Signal) -> String {
    let names = [
        (Signal::TERM, "SIGTERM"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::HUP, "SIGHUP"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::ABORT, "SIGABRT"),
    ];
    let known = names.iter().find(|(known, _)| *known == signal);
    known.map_or_else(
        || format!("signal {}", signal.as_raw()),
        |(_, name)| (*name).to_owned(),
    )
}

/// What happened to the command or to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum RunEvent {
    Ended(ChildEnd),
    /// A signal that asks for a stop.
    Stop(Signal),
    /// A signal for the command.
    PassOn(Signal),
}

/// A signal that is caught.
#[derive(Debug)]
struct CaughtSignal {
    signal: Signal,
    stream: SignalStream,
}

/// The signals of this process, and the ends of its children.
#[derive(Debug)]
pub(super) struct Caught {
    stops: Vec<CaughtSignal>,
    others: Vec<CaughtSignal>,
    children: SignalStream,
    ended: BTreeMap<i32, ChildEnd>,
}

impl Caught {
    /// Catches them from now on; orphans of the command become children of this process.
    pub(super) fn catch() -> io::Result<Self> {
        // So that this process may give the terminal to a second start of the command.
        let mut blocked = SigSet::empty();
        blocked.add(BlockedSignal::SIGTTOU);
        blocked.thread_block()?;
        set_child_subreaper(Some(rustix::process::getpid()))?;
        let catch = |signals: &[Signal]| {
            let caught = signals.iter().map(|&one| {
                let stream = signal(SignalKind::from_raw(one.as_raw()))?;
                Ok(CaughtSignal {
                    signal: one,
                    stream,
                })
            });
            caught.collect::<io::Result<Vec<_>>>()
        };
        Ok(Self {
            stops: catch(&[Signal::TERM, Signal::INT, Signal::QUIT])?,
            others: catch(&[
                Signal::HUP,
                Signal::USR1,
                Signal::USR2,
                Signal::WINCH,
                Signal::CONT,
                Signal::TSTP,
            ])?,
            children: signal(SignalKind::child())?,
            ended: BTreeMap::new(),
        })
    }

    /// The next signal, or the end of this child. Cancel-safe.
    pub(super) async fn next(&mut self, pid: i32) -> RunEvent {
        loop {
            self.reap();
            if let Some(end) = self.ended.remove(&pid) {
                return RunEvent::Ended(end);
            }
            let event = poll_fn(|context| {
                if let Some(signal) = ready(&mut self.stops, context) {
                    return Poll::Ready(Some(RunEvent::Stop(signal)));
                }
                if let Some(signal) = ready(&mut self.others, context) {
                    return Poll::Ready(Some(RunEvent::PassOn(signal)));
                }
                self.children.poll_recv(context).map(|_| None)
            });
            if let Some(event) = event.await {
                return event;
            }
        }
    }

    /// The next signal that asks for a stop. Cancel-safe.
    pub(super) async fn stop_signal(&mut self) -> Signal {
        poll_fn(|context| match ready(&mut self.stops, context) {
            Some(signal) => Poll::Ready(signal),
            None => Poll::Pending,
        })
        .await
    }

    /// Collects every child that has ended, orphans too.
    pub(super) fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let status = ExitStatus::from_raw(status.as_raw());
            if let Some(end) = ChildEnd::of(status) {
                self.ended.insert(pid.as_raw_nonzero().into(), end);
            }
        }
    }
}

fn ready(caught: &mut [CaughtSignal], context: &mut Context<'_>) -> Option<Signal> {
    let mut ready = |one: &mut CaughtSignal| one.stream.poll_recv(context).is_ready();
    let mut caught = caught.iter_mut();
    caught.find_map(|one| ready(one).then_some(one.signal))
}
