//! `musterd backup` and `musterd restore`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    ask::{Daemon, download},
    outcome::{CliError, finish},
    store::folder,
};
use crate::{
    app::{chain, restore_store, verify_backup},
    config::Config,
};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The file to write
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// A file that musterd backup wrote
    file: PathBuf,
    /// The folder of a stopped daemon; by default store.path
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

pub(super) fn backup(arguments: &BackupArguments, daemon: &Daemon<'_>) -> ExitCode {
    finish(fetch(daemon, &arguments.file), daemon.output.json)
}

/// Writes the backup beside its place and moves it there when it is whole.
fn fetch(daemon: &Daemon<'_>, file: &Path) -> Result<String, CliError> {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let failed = |error: io::Error| format!("{}: {error}", part.display());
    let fetched = write(daemon, &part, failed).and_then(|bytes| {
        let opened = File::open(&part).map_err(failed)?;
        verify_backup(BufReader::new(opened)).map_err(failed)?;
        fs::rename(&part, file).map_err(failed)?;
        Ok(format!("{}: {bytes} bytes\n", file.display()))
    });
    fetched.inspect_err(|_| {
        // What is not whole is no backup.
        let _ = fs::remove_file(&part);
    })
}

fn write(
    daemon: &Daemon<'_>,
    part: &Path,
    failed: impl Fn(io::Error) -> String,
) -> Result<u64, CliError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let opened = options.open(part).map_err(&failed)?;
    let mut out = BufWriter::new(opened);
    let mut bytes = 0;
    let content_type = "application/octet-stream";
    download(daemon, "/system/snapshot", content_type, |piece| {
        bytes += piece.len() as u64;
        out.write_all(piece)
    })?;
    let opened = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    opened.sync_all().map_err(failed)?;
    Ok(bytes)
}

pub(super) fn restore(arguments: RestoreArguments, config: &Config) -> ExitCode {
    let file = arguments.file;
    let done = folder(arguments.path, config).and_then(|path| {
        let opened = File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let restored = restore_store(BufReader::new(opened), &path);
        let aside = restored.map_err(|error| chain(&error))?;
        let path = path.display();
        Ok(match aside {
            Some(aside) => format!(
                "{path} is restored; the old content is in {}\n",
                aside.display()
            ),
            None => format!("{path} is restored\n"),
        })
    });
    finish(done, false)
}
