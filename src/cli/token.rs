//! `musterd token`: makes, shows, rotates and revokes the tokens of the running daemon.

use std::{fmt::Write, process::ExitCode};

use serde_json::{Value, json};

use super::ask::{Daemon, encoded, items, print_answer, shown};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CliCommand {
    /// Make a token; its secret is shown once
    Create {
        /// Letters, digits, "-", "_" and "."
        #[arg(long)]
        name: String,
        /// A policy: reader, writer, operator, admin or one of security.policies; may be repeated
        #[arg(long = "policy", required = true)]
        policies: Vec<String>,
        /// When it ends, such as 30d; never without it
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
    },
    /// Show every token, without secrets
    List,
    /// Give a token another secret
    Rotate {
        /// Its name
        name: String,
        /// How long the old secret stays valid; default 1h
        #[arg(long, value_name = "DURATION")]
        overlap: Option<String>,
    },
    /// Remove a token; its streams end
    Revoke {
        /// Its name
        name: String,
    },
    /// Show whose token this command uses
    Whoami,
}

/// Method, path, body, a field of each good answer, and how that is shown.
type TokenRequest = (
    &'static str,
    String,
    Option<Value>,
    &'static str,
    fn(&Value) -> String,
);

pub(super) fn run(arguments: &Arguments, daemon: &Daemon<'_>) -> ExitCode {
    let (method, path, body, field, words): TokenRequest = match &arguments.command {
        CliCommand::Create {
            name,
            policies,
            expires,
        } => {
            let mut body = json!({"name": name, "policies": policies});
            if let Some(expires) = expires {
                body["expires_in"] = expires.as_str().into();
            }
            (
                "POST",
                "/auth/tokens".to_owned(),
                Some(body),
                "secret",
                secret,
            )
        }
        CliCommand::List => ("GET", "/auth/tokens".to_owned(), None, "tokens", list),
        CliCommand::Rotate { name, overlap } => {
            let body = overlap.as_ref().map(|overlap| json!({"overlap": overlap}));
            let path = format!("/auth/tokens/{}/rotate", encoded(name));
            (
                "POST",
                path,
                Some(body.unwrap_or_else(|| json!({}))),
                "secret",
                secret,
            )
        }
        CliCommand::Revoke { name } => (
            "DELETE",
            format!("/auth/tokens/{}", encoded(name)),
            None,
            "",
            revoked,
        ),
        CliCommand::Whoami => (
            "GET",
            "/auth/whoami".to_owned(),
            None,
            "authentication",
            whoami,
        ),
    };
    let answer = daemon.ask((method, &path), body.as_ref(), field);
    print_answer(daemon, answer, words)
}

/// The secret alone on its line, for scripts.
fn secret(answer: &Value) -> String {
    let mut out = format!("{}\n", shown(answer, "secret"));
    if answer["stored"] == false {
        out.push_str("it is not stored (store.path is empty): it ends with the daemon\n");
    }
    out
}

fn list(answer: &Value) -> String {
    let mut out = String::new();
    for token in items(answer, "tokens") {
        let of = |field| shown(token, field);
        let policies = items(token, "policies").iter().filter_map(Value::as_str);
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{:<20} {:<24} {:<13} expires {}, last used {}, secrets {}",
            of("name"),
            policies.collect::<Vec<_>>().join(","),
            of("source"),
            of("expires_at"),
            of("last_used_at"),
            of("secrets"),
        );
    }
    out
}

fn revoked(_: &Value) -> String {
    "revoked\n".to_owned()
}

fn whoami(answer: &Value) -> String {
    let policies = items(answer, "policies").iter().filter_map(Value::as_str);
    let policies: Vec<_> = policies.collect();
    match answer["name"].as_str() {
        Some(name) => format!("{name}: {}\n", policies.join(", ")),
        None if answer["authentication"] == false => "authentication is off\n".to_owned(),
        None => "nobody\n".to_owned(),
    }
}
