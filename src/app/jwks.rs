//! The keys of an identity provider, read again and again, and when a JWT names another one.

use std::{path::PathBuf, time::Duration};

use http::{Method, StatusCode};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::chain;
use crate::{
    outbound::{Client, Request},
    security::{Identities, JwksPlace, JwksSource},
};

/// How long the provider may take to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two readings, whatever JWTs name.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How soon a reading is repeated that failed.
const RETRY: Duration = Duration::from_secs(5);

/// Follows the keys until `stop`.
pub(super) async fn follow(identities: Identities, client: Client, stop: CancellationToken) {
    let mut logged = String::new();
    loop {
        let Some(source) = identities.jwks_source() else {
            tokio::select! {
                () = stop.cancelled() => return,
                () = identities.jwks_wanted() => continue,
            }
        };
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = read(&client, &source) => read,
        };
        let set = read.and_then(|text| {
            let set = identities.set_jwks(&source, &text);
            set.map_err(|error| chain(&error))
        });
        let mut pause = source.refresh;
        match set {
            Ok(count) => {
                logged.clear();
                tracing::debug!("the identity provider has {count} usable keys");
            }
            Err(why) => {
                pause = pause.min(RETRY);
                let place = shown(&source.place);
                if why != logged {
                    tracing::error!(
                        "the keys of {place} are not read, the ones before stay: {why}"
                    );
                    logged = why;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(PAUSE_MIN) => (),
        }
        // The result does not matter: either the keys are wanted or it is time.
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timeout(pause.saturating_sub(PAUSE_MIN), identities.jwks_wanted()) => (),
        }
    }
}

fn shown(place: &JwksPlace) -> String {
    match place {
        JwksPlace::File(path) => format!("security.jwt.jwks_file \"{path}\""),
        JwksPlace::Url(_) => "security.jwt.jwks_url".to_owned(),
    }
}

async fn read(client: &Client, source: &JwksSource) -> Result<Vec<u8>, String> {
    match &source.place {
        JwksPlace::File(path) => {
            let (source, path) = (source.clone(), PathBuf::from(path));
            let read = spawn_blocking(move || source.read(&path)).await;
            let read = read.map_err(|_| "the reader panicked".to_owned())?;
            read.map_err(|error| chain(&error))
        }
        JwksPlace::Url(url) => fetch(client, url, source.bytes_max).await,
    }
}

async fn fetch(client: &Client, url: &str, bytes_max: usize) -> Result<Vec<u8>, String> {
    let request = Request::new(Method::GET, url);
    let deadline = Instant::now() + ANSWER_TIME_MAX;
    let answer = client.send(&request, deadline, bytes_max).await;
    let answer = answer.map_err(|error| chain(&error))?;
    if answer.status != StatusCode::OK {
        return Err(format!("the answer is {}", answer.status));
    }
    if answer.truncated {
        return Err(format!(
            "the answer is larger than security.jwt.jwks_max ({bytes_max} bytes)"
        ));
    }
    Ok(answer.body.into())
}
