//! `musterd watchers` and `musterd routes`.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{
    ask::{Daemon, encoded, items, json_text, shown},
    discover::add,
    outcome::{CliError, MISCONFIGURED},
    services::address,
    table::{Cell, Column},
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum WatchersCommand {
    /// List the webhooks, how far behind each is, and its last error
    List,
    /// Add a webhook
    Add {
        /// Where events are sent
        url: String,
        /// Only of this service
        #[arg(long, default_value = "*")]
        service: String,
        /// Only events of this kind; may be repeated
        #[arg(long = "event", value_name = "KIND")]
        events: Vec<String>,
        /// A file with the secret that signs what is sent
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Remove a webhook
    Remove {
        /// Its id
        id: String,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum RoutesCommand {
    /// List the routes of gateways
    List,
    /// Add or replace a route
    Set {
        /// The route's id
        id: String,
        /// Requests whose path begins with this
        #[arg(long)]
        prefix: String,
        /// go to this service
        #[arg(long)]
        service: String,
        /// Remove the prefix from the path
        #[arg(long)]
        strip_prefix: bool,
        /// Only for this method; may be repeated
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        /// Higher ones are tried first
        #[arg(long, default_value_t = 0)]
        priority: i32,
    },
    /// Remove a route
    Remove {
        /// The route's id
        id: String,
    },
    /// Show where a request would go
    Resolve {
        /// The path of the request
        path: String,
        /// Its method
        #[arg(long)]
        method: Option<String>,
    },
}

const WATCHERS: [Column; 8] = [
    Column::text("ID"),
    Column::text("SERVICE"),
    Column::text("STATE"),
    Column::number("LAG"),
    Column::number("DELIVERED"),
    Column::number("FAILED"),
    Column::text("URL"),
    Column::text("LAST ERROR").wide(),
];

const ROUTES: [Column; 6] = [
    Column::text("ID"),
    Column::text("PREFIX"),
    Column::text("SERVICE"),
    Column::text("METHODS"),
    Column::number("PRIORITY"),
    Column::text("STRIPS").wide(),
];

pub(super) fn watchers(command: &WatchersCommand, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match command {
        WatchersCommand::List => {
            let answer = daemon.get("/watchers", "watchers")?;
            let rows = items(&answer, "watchers").iter().map(watcher_row);
            daemon.list(&answer, &WATCHERS, rows.collect())
        }
        WatchersCommand::Add {
            url,
            service,
            events,
            secret_file,
        } => {
            let mut body = json!({"callback_url": url, "service_name": service, "events": events});
            if let Some(file) = secret_file {
                let secret = fs::read_to_string(file).map_err(|error| {
                    CliError::new(MISCONFIGURED, format!("{}: {error}", file.display()))
                })?;
                body["secret"] = secret.trim_end_matches(['\r', '\n']).into();
            }
            let answer = daemon.send(("POST", "/watchers"), Some(&body), "id")?;
            Ok(said(daemon, &answer, || {
                format!("{}\n", shown(&answer, "id"))
            }))
        }
        WatchersCommand::Remove { id } => {
            let path = format!("/watchers/{}", encoded(id));
            let answer = daemon.send(("DELETE", &path), None, "")?;
            Ok(said(daemon, &answer, || format!("{id}: removed\n")))
        }
    }
}

fn watcher_row(watcher: &Value) -> Vec<Cell> {
    let of = |field| shown(watcher, field);
    vec![
        of("id").into(),
        of("service_name").into(),
        of("state").into(),
        number(watcher, "lag"),
        number(watcher, "delivered"),
        number(watcher, "failed"),
        of("callback_url").into(),
        of("last_error").into(),
    ]
}

pub(super) fn routes(command: &RoutesCommand, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match command {
        RoutesCommand::List => {
            let answer = daemon.get("/gateway/routes", "routes")?;
            let rows = items(&answer, "routes").iter().map(route_row);
            daemon.list(&answer, &ROUTES, rows.collect())
        }
        RoutesCommand::Set {
            id,
            prefix,
            service,
            strip_prefix,
            methods,
            priority,
        } => {
            let body = json!({
                "path_prefix": prefix, "service_name": service, "strip_prefix": strip_prefix,
                "methods": methods, "priority": priority,
            });
            let path = format!("/gateway/routes/{}", encoded(id));
            let answer = daemon.send(("PUT", &path), Some(&body), "route_id")?;
            Ok(said(daemon, &answer, || format!("{id}: set\n")))
        }
        RoutesCommand::Remove { id } => {
            let path = format!("/gateway/routes/{}", encoded(id));
            let answer = daemon.send(("DELETE", &path), None, "")?;
            Ok(said(daemon, &answer, || format!("{id}: removed\n")))
        }
        RoutesCommand::Resolve { path, method } => {
            let mut asked = "/gateway/resolve".to_owned();
            add(&mut asked, "path", path);
            if let Some(method) = method {
                add(&mut asked, "method", method);
            }
            let answer = daemon.get(&asked, "route")?;
            Ok(said(daemon, &answer, || resolved(&answer)))
        }
    }
}

fn resolved(answer: &Value) -> String {
    let route = shown(&answer["route"], "route_id");
    let instance = &answer["instance"];
    format!(
        "{route}  {}  {}\n",
        shown(instance, "service_id"),
        address(instance)
    )
}

fn route_row(route: &Value) -> Vec<Cell> {
    let of = |field| shown(route, field);
    let methods = items(route, "methods").iter().filter_map(Value::as_str);
    let methods: Vec<_> = methods.collect();
    let methods = match methods.is_empty() {
        true => "all".to_owned(),
        false => methods.join(","),
    };
    vec![
        of("route_id").into(),
        of("path_prefix").into(),
        of("service_name").into(),
        methods.into(),
        number(route, "priority"),
        of("strip_prefix").into(),
    ]
}

/// A number of an answer.
pub(super) fn number(of: &Value, field: &str) -> Cell {
    match of[field].as_f64() {
        Some(value) => Cell::number(shown(of, field), value),
        None => shown(of, field).into(),
    }
}

/// The answer as JSON, or in words.
pub(super) fn said(daemon: &Daemon<'_>, answer: &Value, words: impl FnOnce() -> String) -> String {
    match daemon.output.json {
        true => json_text(answer),
        false => words(),
    }
}
