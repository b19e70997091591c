//! TLS of HTTP: its files are read again when they change, and expired certificates of clients end.

use std::time::Duration;

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::chain;
use crate::{
    http::TlsConfig,
    tasks::{Stage, Tasks},
    tls::{ServerTls, TlsError},
};

/// How late a client is disconnected whose certificate expired.
const END_EVERY: Duration = Duration::from_millis(500);

/// Reads the files, and follows their changes.
pub(super) fn open(config: &TlsConfig, tasks: &mut Tasks) -> Result<Option<ServerTls>, TlsError> {
    let tls = config.open()?;
    if let Some(tls) = tls.clone() {
        let every = config.check_every.get();
        tasks.spawn(Stage::Source, "certificates", move |stop| {
            follow(tls, every, stop)
        });
    }
    Ok(tls)
}

async fn follow(tls: ServerTls, every: Duration, stop: CancellationToken) {
    let mut checked = Instant::now();
    // The same fault is logged once.
    let mut logged = String::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(END_EVERY.min(every)) => tls.end_expired(),
        }
        if checked.elapsed() < every {
            continue;
        }
        checked = Instant::now();
        let reading = tls.clone();
        let read = spawn_blocking(move || reading.refresh()).await;
        match read {
            Ok(Ok(false)) => (),
            Ok(Ok(true)) => {
                logged.clear();
                tracing::info!("the files of http.tls have changed and are in use");
            }
            Ok(Err(error)) => {
                let text = chain(&error);
                if text != logged {
                    tracing::error!("the files of http.tls stay as they were: {text}");
                    logged = text;
                }
            }
            Err(_) => {
                tracing::error!("the files of http.tls could not be read: the reader panicked");
            }
        }
    }
}
