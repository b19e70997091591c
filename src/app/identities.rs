//! The identities: read at the start, ended in time, and their last use stored.

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{jwks, store::Kept};
use crate::{
    config::Config,
    http::ClientAuth,
    model::Timestamp,
    outbound::Client,
    registry::{Clock, Registry},
    security::{AuthMode, FirstToken, Identities, NoTokenRows, SecurityError, is_open},
    tasks::{Stage, Tasks},
};

/// How late a stream ends whose token expired.
const END_EVERY: Duration = Duration::from_millis(250);
/// How often it is stored when tokens were last used.
const STORE_EVERY: Duration = Duration::from_secs(300);

/// Reads the identities and keeps them up to date; with the token that a first start made.
pub(super) fn load(
    config: &Config,
    (registry, client, kept): (&Registry, &Client, &Kept),
    tasks: &mut Tasks,
) -> Result<(Identities, Option<FirstToken>), SecurityError> {
    let clock = registry.clock().clone();
    let (identities, first) = Identities::load(
        &config.security,
        config.store.folder().map(|folder| folder.as_path()),
        kept.tokens.clone(),
        Arc::new(kept.rows.clone()),
        clock.now().wall,
    )?;
    if identities.is_on() {
        identities.end_expired(clock.now().wall);
        let kept = identities.clone();
        tasks.spawn(Stage::Source, "identities", |stop| keep(kept, clock, stop));
        let (following, client) = (identities.clone(), client.clone());
        tasks.spawn(Stage::Source, "identity provider", |stop| {
            jwks::follow(following, client, stop)
        });
    }
    Ok((identities, first))
}

async fn keep(identities: Identities, clock: Clock, stop: CancellationToken) {
    let mut stored = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(END_EVERY) => identities.end_expired(clock.now().wall),
        }
        if stored.elapsed() >= STORE_EVERY {
            identities.store_used().await;
            stored = Instant::now();
        }
    }
    identities.store_used().await;
}

/// Shows the token of a first start, this once. Without a file it is shown at any `log.level`: nothing else has it.
///
/// # Errors
/// It is nowhere to be seen.
pub(super) fn show_first(
    first: Option<FirstToken>,
    mut standard_error: impl Write,
) -> Result<(), SecurityError> {
    let Some(FirstToken { secret, path }) = first else {
        return Ok(());
    };
    let secret = secret.expose();
    match path {
        Some(path) => {
            let path = path.display();
            tracing::info!("the admin token, shown this once and kept in {path}: {secret}");
            Ok(())
        }
        None => writeln!(
            standard_error,
            "the admin token, shown this once and valid until the next start, since there is no store: {secret}"
        )
        .map_err(SecurityError::NotShown),
    }
}

/// Finds what is wrong without listening: files, and an address that would be open. Tokens that are stored are not
/// read, so that an address is not judged where there may be some.
pub(super) fn check(config: &Config) -> Result<(), SecurityError> {
    let security = &config.security;
    let rows = Arc::new(NoTokenRows);
    let (identities, _) = Identities::load(security, None, Vec::new(), rows, Timestamp(0))?;
    let has_store = config.store.folder().is_some_and(|folder| folder.exists());
    if has_store && security.auth == AuthMode::Auto {
        return Ok(());
    }
    let tls = &config.http.tls;
    let is_certified = tls.is_on() && tls.client_auth == ClientAuth::Required;
    let both = !tls.listen.is_empty();
    for (key, listen, is_certified) in [
        ("http.listen", &config.http.listen, is_certified && !both),
        ("http.tls.listen", &tls.listen, is_certified),
        ("dns.listen", &config.dns.listen, false),
    ] {
        if let Ok(address) = listen.parse::<SocketAddr>()
            && !is_certified
        {
            is_open(security, &identities, key, address)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::TokenSecret;

    #[test]
    fn an_open_address_is_found_without_a_start() {
        let check = |edit: &dyn Fn(&mut Config)| {
            let mut config = Config::default();
            config.http.listen = "0.0.0.0:8000".to_owned();
            edit(&mut config);
            check(&config).is_ok()
        };
        assert!(!check(&|_| ()));
        assert!(check(
            &|config| config.http.listen = "127.0.0.1:8000".to_owned()
        ));
        assert!(check(&|config| config.http.listen = String::new()));
        assert!(check(&|config| config.security.allow_open = true));
        assert!(check(&|config| config.security.auth = AuthMode::On));
        assert!(!check(&|config| config.security.auth = AuthMode::Off));
        let tls = |config: &mut Config, auth| {
            config.http.tls.certificate = "server.pem".into();
            config.http.tls.client_auth = auth;
        };
        assert!(check(&|config| tls(config, ClientAuth::Required)));
        assert!(!check(&|config| tls(config, ClientAuth::Optional)));
        assert!(
            !check(&|config| {
                tls(config, ClientAuth::Required);
                config.http.tls.listen = "0.0.0.0:8443".to_owned();
            }),
            "the other listener asks for none"
        );
    }

    #[test]
    fn an_admin_token_without_a_file_is_shown_or_the_start_is_refused() {
        let first = || {
            let secret = TokenSecret::random().unwrap();
            (secret.clone(), Some(FirstToken { secret, path: None }))
        };
        let (secret, token) = first();
        let mut shown = Vec::new();
        show_first(token, &mut shown).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains(secret.expose()) && shown.ends_with('\n'));
        let closed: &mut [u8] = &mut [];
        let refused = show_first(first().1, closed).unwrap_err();
        assert!(refused.to_string().contains("store.path"), "{refused}");
    }
}
