//! `musterd sd-file`: a file of targets for Prometheus, written again at each change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    ask::{Daemon, failed, receive, runtime, target},
    discover::add,
    outcome::{CliError, CommandOutput, UNREACHABLE},
    print_error,
    reach::DaemonAddress,
};

/// Changes are collected for this long.
const PAUSE: Duration = Duration::from_millis(50);
/// The first pause before the daemon is connected to again; it doubles up to the longest.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A stream without a keep-alive for this long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file, which Prometheus reads by file_sd_configs
    path: PathBuf,
    /// Write it once, then end
    #[arg(long)]
    once: bool,
    /// Only instances of this service; may be repeated
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Only instances with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only instances in this zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Only instances in this state: healthy, unhealthy, starting, stopping or unknown
    #[arg(long, value_name = "STATE")]
    health: Option<String>,
}

impl Arguments {
    /// Where the targets are.
    fn targets(&self) -> String {
        let mut path = "/v1/sd/prometheus".to_owned();
        self.add_services(&mut path);
        for tag in &self.tag {
            add(&mut path, "tag", tag);
        }
        for (name, value) in [("zone", &self.zone), ("health", &self.health)] {
            if let Some(value) = value {
                add(&mut path, name, value);
            }
        }
        path
    }

    /// Where their changes are.
    fn changes(&self) -> String {
        let mut path = "/watch?canary=false".to_owned();
        self.add_services(&mut path);
        path
    }

    fn add_services(&self, path: &mut String) {
        for name in &self.service {
            add(path, "service", name);
        }
    }
}

pub(super) fn run(arguments: &Arguments, daemon: &Daemon<'_>) -> Result<CommandOutput, CliError> {
    let target = target(daemon)?;
    let runtime = runtime()?;
    let mut file = SdFile {
        from: (&target, daemon),
        url: &daemon.url,
        timeout: daemon.timeout,
        targets: arguments.targets(),
        path: &arguments.path,
        written: None,
    };
    let ended = match arguments.once {
        true => runtime.block_on(file.update()),
        false => runtime.block_on(file.follow(&arguments.changes())),
    };
    match ended {
        Ok(()) => Ok(CommandOutput::default()),
        Err(Failure::Passing(error) | Failure::Lasting(error)) => Err(error),
    }
}

/// Why the file is not up to date.
#[derive(Debug)]
enum Failure {
    /// The daemon does not answer, or cannot do it now: it may later.
    Passing(CliError),
    /// It refuses, or the file can't be written.
    Lasting(CliError),
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        match error.may_pass() {
            true => Self::Passing(error),
            false => Self::Lasting(error),
        }
    }
}

/// The file and where its content comes from.
#[derive(Debug)]
struct SdFile<'a> {
    from: (&'a DaemonAddress, &'a Daemon<'a>),
    url: &'a str,
    /// How long a list of targets may take.
    timeout: Duration,
    targets: String,
    path: &'a Path,
    /// What was written last.
    written: Option<Vec<u8>>,
}

impl SdFile<'_> {
    /// Writes the file at each change, for ever; connects again when the daemon was lost.
    async fn follow(&mut self, changes: &str) -> Result<(), Failure> {
        let mut pause = BACKOFF_FIRST;
        loop {
            let before = self.written.clone();
            match self.follow_once(changes).await {
                Err(Failure::Passing(error)) => print_error(&format!(
                    "{}; {} stays as it is until the daemon answers",
                    error.message,
                    self.path.display()
                )),
                lasting => return lasting,
            }
            if self.written != before {
                pause = BACKOFF_FIRST;
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(BACKOFF_MAX);
        }
    }

    /// Until the connection is lost.
    async fn follow_once(&mut self, changes: &str) -> Result<(), Failure> {
        let (from, url) = (self.from, self.url);
        let (seen, mut changed) = watch::channel(());
        let (alive, mut living) = watch::channel(());
        let stream = receive(from, changes, "text/event-stream", |piece| {
            alive.send_replace(());
            // Comments and ids alone show only that the stream is alive.
            if piece.starts_with(b"event:") || piece.windows(7).any(|part| part == b"\nevent:") {
                seen.send_replace(());
            }
            Ok(())
        });
        let writing = async {
            loop {
                self.update().await?;
                if changed.changed().await.is_err() {
                    return Ok(());
                }
                sleep(PAUSE).await;
                changed.mark_unchanged();
            }
        };
        let silence = async {
            while timeout(SILENCE_MAX, living.changed())
                .await
                .is_ok_and(|seen| seen.is_ok())
            {}
        };
        tokio::select! {
            ended = stream => match ended {
                Ok(Err(refused)) => Err(refused.into()),
                Ok(Ok(())) => Err(passing(format!("{url} ended the stream"))),
                Err(error) => Err(Failure::Passing(failed(url, &error))),
            },
            written = writing => written,
            () = silence => Err(passing(format!("{url} sends nothing"))),
        }
    }

    /// Gets the targets, and writes the file if they have changed.
    async fn update(&mut self) -> Result<(), Failure> {
        let mut content = Vec::new();
        let got = receive(self.from, &self.targets, "application/json", |piece| {
            content.extend_from_slice(piece);
            Ok(())
        });
        match timeout(self.timeout, got).await {
            Ok(Ok(Ok(()))) => (),
            Ok(Ok(Err(refused))) => return Err(refused.into()),
            Ok(Err(error)) => return Err(Failure::Passing(failed(self.url, &error))),
            Err(_) => {
                let (url, timeout) = (self.url, self.timeout);
                return Err(passing(format!("{url} does not answer within {timeout:?}")));
            }
        }
        content.push(b'\n');
        if self.written.as_ref() != Some(&content) {
            write(self.path, &content).map_err(|error| {
                let message = format!("{} can't be written: {error}", self.path.display());
                Failure::Lasting(message.into())
            })?;
            self.written = Some(content);
        }
        Ok(())
    }
}

fn passing(message: String) -> Failure {
    Failure::Passing(CliError::new(UNREACHABLE, message))
}

/// Writes a file beside its place and moves it there: readers see the old content or the new one.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let written = fs::write(&part, content).and_then(|()| fs::rename(&part, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&part);
    })
}
