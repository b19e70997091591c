//! `musterd broker user`: the users of the running daemon's broker. Passwords are hashed here: they do not leave this
//! process.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{
    app,
    cli::{
        ask::{Daemon, encoded, items, shown},
        hash,
        outcome::CliError,
        watchers::said,
    },
};

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum UserCommand {
    /// Make a user; its password is read from standard input
    Add {
        /// The name to log in with
        name: String,
        /// A tag, such as administrator or impersonator; may be repeated
        #[arg(long = "tag")]
        tags: Vec<String>,
        /// May connect from the daemon's machine only
        #[arg(long)]
        loopback_only: bool,
        /// Has no password and logs in by certificate
        #[arg(long)]
        no_password: bool,
        /// Gets all permissions in this vhost; may be repeated
        #[arg(long = "all-in", value_name = "VHOST")]
        all_in: Vec<String>,
    },
    /// Give a user another password, which is read from standard input
    Passwd {
        /// The user
        name: String,
    },
    /// Remove a user; its connections are closed
    Delete {
        /// The user
        name: String,
    },
    /// Show every user with its permissions
    List,
    /// Set what a user may do in a vhost, or with --clear take all permissions there away
    Permissions {
        /// The user
        name: String,
        /// The virtual host
        #[arg(long, default_value = "/")]
        vhost: String,
        /// What it may declare and delete: a regular expression
        #[arg(long, value_name = "REGEX", required_unless_present = "clear")]
        configure: Option<String>,
        /// What it may publish to and bind
        #[arg(long, value_name = "REGEX", required_unless_present = "clear")]
        write: Option<String>,
        /// What it may consume from and bind to
        #[arg(long, value_name = "REGEX", required_unless_present = "clear")]
        read: Option<String>,
        /// Take all permissions away
        #[arg(long, conflicts_with_all = ["configure", "write", "read"])]
        clear: bool,
    },
    /// Set the routing keys that a user may use at a topic exchange, or with --clear all of them
    TopicPermissions {
        /// The user
        name: String,
        /// The virtual host
        #[arg(long, default_value = "/")]
        vhost: String,
        /// The exchange
        #[arg(long)]
        exchange: String,
        /// The keys that it may publish with: a regular expression with {username} and {vhost}
        #[arg(long, value_name = "REGEX", required_unless_present = "clear")]
        write: Option<String>,
        /// The keys that it may bind with
        #[arg(long, value_name = "REGEX", required_unless_present = "clear")]
        read: Option<String>,
        /// Lift the limits
        #[arg(long, conflicts_with_all = ["write", "read"])]
        clear: bool,
    },
}

pub(super) fn run(command: &UserCommand, daemon: &Daemon<'_>) -> Result<String, CliError> {
    match command {
        UserCommand::Add {
            name,
            tags,
            loopback_only,
            no_password,
            all_in,
        } => {
            let hash = match no_password {
                true => String::new(),
                false => hashed()?,
            };
            let user = json!({
                "name": name, "password_hash": hash, "tags": tags, "loopback_only": loopback_only,
            });
            add(daemon, name, &user, all_in)
        }
        UserCommand::Passwd { name } => {
            let body = json!({"password_hash": hashed()?});
            let answer = change(daemon, "PUT", &path(name), Some(&body))?;
            Ok(said(daemon, &answer, || {
                format!("user {name} has another password{}\n", fate(&answer))
            }))
        }
        UserCommand::Delete { name } => {
            let answer = change(daemon, "DELETE", &path(name), None)?;
            Ok(said(daemon, &answer, || {
                format!("user {name} is removed\n")
            }))
        }
        UserCommand::List => {
            let answer = daemon.get("/broker/users", "users")?;
            Ok(said(daemon, &answer, || list(&answer)))
        }
        UserCommand::Permissions {
            name,
            vhost,
            configure,
            write,
            read,
            clear,
        } => {
            let path = format!("{}/permissions/{}", path(name), encoded(vhost));
            let body = json!({"configure": configure, "write": write, "read": read});
            permit(daemon, &path, *clear, &body)
        }
        UserCommand::TopicPermissions {
            name,
            vhost,
            exchange,
            write,
            read,
            clear,
        } => {
            let (vhost, exchange) = (encoded(vhost), encoded(exchange));
            let path = format!("{}/topic-permissions/{vhost}/{exchange}", path(name));
            permit(
                daemon,
                &path,
                *clear,
                &json!({"write": write, "read": read}),
            )
        }
    }
}

/// Makes a user, and gives it all permissions in these vhosts.
fn add(
    daemon: &Daemon<'_>,
    name: &str,
    user: &Value,
    vhosts: &[String],
) -> Result<String, CliError> {
    let mut answer = change(daemon, "POST", "/broker/users", Some(user))?;
    for vhost in vhosts {
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        let path = format!("{}/permissions/{}", path(name), encoded(vhost));
        answer = change(daemon, "PUT", &path, Some(&all))?;
    }
    Ok(said(daemon, &answer, || {
        format!("user {name} is made{}\n", fate(&answer))
    }))
}

fn permit(daemon: &Daemon<'_>, path: &str, clear: bool, body: &Value) -> Result<String, CliError> {
    let answer = match clear {
        true => change(daemon, "DELETE", path, None)?,
        false => change(daemon, "PUT", path, Some(body))?,
    };
    Ok(said(daemon, &answer, || format!("done{}\n", fate(&answer))))
}

fn change(
    daemon: &Daemon<'_>,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, CliError> {
    daemon.send((method, path), body, "name")
}

/// Reads a password and hashes it.
fn hashed() -> Result<String, String> {
    let password = hash::read()?;
    app::hash_password(&password).map_err(|error| app::chain(&error))
}

fn path(name: &str) -> String {
    format!("/broker/users/{}", encoded(name))
}

fn fate(answer: &Value) -> &'static str {
    match answer["stored"] == false {
        true => ", until the daemon stops: store.path is empty",
        false => "",
    }
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for user in items(answer, "users") {
        let of = |field| shown(user, field);
        let tags = items(user, "tags").iter().filter_map(Value::as_str);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{:<20} {:<13} password {}, tags [{}], connections {}",
            of("name"),
            of("source"),
            of("password"),
            tags.collect::<Vec<_>>().join(", "),
            of("connections"),
        );
        for (vhost, permission) in user["permissions"].as_object().into_iter().flatten() {
            let of = |field| shown(permission, field);
            let _ = writeln!(
                out,
                "    in \"{vhost}\": configure \"{}\", write \"{}\", read \"{}\"",
                of("configure"),
                of("write"),
                of("read")
            );
        }
        for (vhost, exchanges) in user["topic_permissions"].as_object().into_iter().flatten() {
            for (exchange, permission) in exchanges.as_object().into_iter().flatten() {
                let of = |field| shown(permission, field);
                let _ = writeln!(
                    out,
                    "    topics of \"{exchange}\" in \"{vhost}\": write \"{}\", read \"{}\"",
                    of("write"),
                    of("read")
                );
            }
        }
    }
    out
}
