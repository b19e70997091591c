//! Environment variables: which are keys, and which only look like one.

use super::shown::documented;

/// Environment variables of the form `MUSTERD__HTTP__LISTEN` are keys.
pub(super) const PREFIX: &str = "MUSTERD__";

/// Variables of this form are likely meant for the daemon.
const ALIKE: &str = "MUSTERD_";

/// Variables that docker-compose.yml and clients use, and the one with a secret that has no key.
const KNOWN: &[&str] = &[
    "MUSTERD_ADDRESS",
    "MUSTERD_ADMIN_TOKEN",
    "MUSTERD_AMQP_PASSWORD",
    "MUSTERD_AMQP_PORT",
    "MUSTERD_AMQP_URL",
    "MUSTERD_CA",
    "MUSTERD_HTTP_PORT",
    "MUSTERD_IMAGE",
    "MUSTERD_MIGRATION_RETURN",
    "MUSTERD_TOKEN",
    DASHBOARD_FOLDER,
];

/// The secret of the identity `admin`.
pub(super) const ADMIN_TOKEN: &str = "MUSTERD_ADMIN_TOKEN";

/// The folder of the dashboard's files, for those who work on them; debug builds alone read it.
pub(super) const DASHBOARD_FOLDER: &str = "MUSTERD_UI_DIR";

/// Says that a variable is not used, when its name looks as if it should be.
pub(super) fn warning(name: &str) -> Option<String> {
    let upper = name.to_uppercase();
    let rest = upper.strip_prefix(ALIKE)?;
    if name.starts_with(PREFIX) || KNOWN.contains(&name) {
        return None;
    }
    let plain = |key: &str| key.replace(['.', '_'], "").to_uppercase();
    let meant = documented()
        .map(|(section, key, _)| format!("{section}.{key}"))
        .find(|key| plain(key) == plain(rest));
    let key = meant.map_or_else(|| "HTTP__LISTEN".to_owned(), |key| key.replace('.', "__"));
    let key = key.to_uppercase();
    Some(format!(
        "the environment variable {name} is not used: write it as {PREFIX}{key}, with two underscores"
    ))
}
