//! README and docs: what they show works, what they name exists, and the reference says what the code says.
//!
//! `UPDATE=1 cargo test --test it docs::` writes the generated pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use regex::Regex;
use serde_json::Value;

use crate::daemon::{Daemon, musterd};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What README may have at most.
const README_LINES_MAX: usize = 180;

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README and each page of the book.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, pages);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    let mut pages = vec![Path::new(ROOT).join("README.md")];
    collect(&Path::new(ROOT).join("docs"), &mut pages);
    pages.sort();
    pages
}

fn name(page: &Path) -> String {
    page.strip_prefix(ROOT).unwrap().display().to_string()
}

/// The blocks of a page in the language `console`: the lines of each, with commands after `$ ` and their output below.
fn console_blocks(text: &str) -> Vec<Vec<&str>> {
    let mut blocks = Vec::new();
    let mut current: Option<Vec<&str>> = None;
    let mut other = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some("") if current.is_some() => blocks.extend(current.take()),
            Some(_) if other => other = false,
            Some("console") => current = Some(Vec::new()),
            Some(language) => {
                if let Some(reason) = language.strip_prefix("console,no-run") {
                    assert!(!reason.trim().is_empty(), "a reason belongs behind {line}");
                }
                other = true;
            }
            None => {
                if let Some(block) = &mut current {
                    block.push(line);
                }
            }
        }
    }
    blocks
}

/// Whether output is what a page shows: `…` matches any text within a line.
fn alike(shown: &str, found: &str) -> bool {
    let parts: Vec<_> = shown.split('…').map(regex::escape).collect();
    let pattern = format!("^{}$", parts.join(".*"));
    Regex::new(&pattern).unwrap().is_match(found)
}

#[test]
fn the_comparison_takes_only_what_is_alike() {
    assert!(alike("{\"a\":…,\"b\":1}", "{\"a\":22,\"b\":1}"));
    assert!(!alike("{\"a\":…,\"b\":1}", "{\"a\":22,\"b\":2}"));
    assert!(!alike("a", "ab"));
}

/// Each `$` line of a page runs in order against a fresh daemon and prints what the page shows.
#[test]
fn commands_of_the_pages_print_what_is_shown() {
    let mut ran = 0;
    for page in pages() {
        let text = read(&page);
        let blocks = console_blocks(&text);
        if blocks.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let store = format!("store.path={}", folder.path().join("state").display());
        let daemon = Daemon::start(&["--set", &store]);
        let address = daemon.url.trim_start_matches("http://");
        let binaries = Path::new(env!("CARGO_BIN_EXE_musterd")).parent().unwrap();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
        for block in blocks {
            for (command, shown) in commands(&block) {
                let here = command
                    .replace("localhost:8000", address)
                    .replace("127.0.0.1:8000", address);
                let output = Command::new("sh")
                    .args(["-c", &here])
                    .current_dir(folder.path())
                    .env("PATH", &path)
                    .env("MUSTERD_ADDRESS", &daemon.url)
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                let found = String::from_utf8_lossy(&output.stdout).into_owned();
                let errors = String::from_utf8_lossy(&output.stderr);
                let found = found.trim_end().replace(address, "localhost:8000");
                let lines: Vec<_> = found.lines().collect();
                // A command without output in the page only has to succeed.
                let same = match shown.is_empty() {
                    true => output.status.success(),
                    false => {
                        lines.len() == shown.len()
                            && shown
                                .iter()
                                .zip(&lines)
                                .all(|(shown, found)| alike(shown, found))
                    }
                };
                assert!(
                    same,
                    "{}: $ {command}\nshown:\n{}\nfound:\n{found}\n{errors}",
                    name(&page),
                    shown.join("\n")
                );
                ran += 1;
            }
        }
    }
    assert!(ran >= 8, "only {ran} commands were found");
}

fn commands<'a>(block: &[&'a str]) -> Vec<(String, Vec<&'a str>)> {
    let mut commands: Vec<(String, Vec<&str>)> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((command, _))) if command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    for (_, shown) in &mut commands {
        while shown.last().is_some_and(|line| line.trim().is_empty()) {
            shown.pop();
        }
    }
    commands
}

/// The anchor of a heading, as the pages are rendered.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' | '-' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '_' => Some(letter.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

#[test]
fn links_and_anchors_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut faults = Vec::new();
    for page in pages() {
        let text = read(&page);
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            if !file.exists() {
                faults.push(format!("{}: {target}", name(&page)));
                continue;
            }
            let anchors = || {
                let text = read(&file);
                let headings = text.lines().filter(|line| line.starts_with('#'));
                headings
                    .map(|line| anchor(line.trim_start_matches('#').trim()))
                    .collect::<BTreeSet<_>>()
            };
            if !place.is_empty() && !anchors().contains(place) {
                faults.push(format!("{}: {target}: no such heading", name(&page)));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn each_page_is_in_the_summary_and_the_readme_is_short() {
    let docs = Path::new(ROOT).join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    for page in pages() {
        let Ok(path) = page.strip_prefix(&docs) else {
            continue;
        };
        let path = path.display().to_string();
        if path != "SUMMARY.md" {
            assert!(
                summary.contains(&format!("]({path})")),
                "{path} is not in SUMMARY.md"
            );
        }
    }
    let lines = read(&Path::new(ROOT).join("README.md")).lines().count();
    assert!(lines <= README_LINES_MAX, "README has {lines} lines");
}

/// Compares a generated page with the one in docs.
#[track_caller]
fn generated(path: &str, text: &str) {
    let file = Path::new(ROOT).join("docs/reference").join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, text).unwrap();
    }
    let own = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        own == text,
        "docs/reference/{path} is not up to date: UPDATE=1 writes it"
    );
}

#[tokio::test]
async fn the_page_of_metrics_has_each_metric_once() {
    let daemon = Daemon::start(&[]);
    let url = format!("{}/metrics", daemon.url);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let own = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let own = own.filter_map(|line| line.split(' ').next());
    let own: BTreeSet<_> = own.filter(|name| !name.starts_with("rabbitmq_")).collect();
    let page = read(&Path::new(ROOT).join("docs/reference/metrics.md"));
    let word = Regex::new(r"\b(?:musterd|process)_[a-z_]+").unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    for row in rows {
        let names = row.split(" | ").next().unwrap_or_default();
        for name in word.find_iter(names) {
            *counts.entry(name.as_str()).or_default() += 1;
        }
    }
    let named: BTreeSet<_> = counts.keys().copied().collect();
    let missing: Vec<_> = own.difference(&named).collect();
    assert!(missing.is_empty(), "not in the page: {missing:?}");
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
}

#[test]
fn the_page_of_configuration_keys_is_that_of_the_code() {
    let defaults = read(&Path::new(ROOT).join("config/default.toml"));
    let mut page = "# Configuration keys\n\nEvery key with its default. [Configuration](config.md) says how to set one.\n".to_owned();
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in defaults.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            // Writing to a string can't fail.
            let _ = write!(page, "\n## {name}\n\n| key | default | |\n|---|---|---|\n");
            name.clone_into(&mut section);
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some((key, value)) = line.split_once(" = ") {
            let about = comment.join(" ").replace('|', "\\|");
            let value = value.replace('|', "\\|");
            let _ = writeln!(page, "| `{section}.{key}` | `{value}` | {about} |");
            comment.clear();
        } else {
            comment.clear();
        }
    }
    generated("config-keys.md", &page);
}

#[test]
fn the_page_of_operations_is_that_of_the_code() {
    let file = Path::new(ROOT).join("src/http/rest/openapi.json");
    let openapi: Value = serde_json::from_str(&read(&file)).unwrap();
    let mut page = "# REST operations\n\nEvery operation of the main port with its parameters and answers. `/openapi.json` of a running daemon has the shapes.\n\n\
                    | operation | parameters | what it does | answers |\n|---|---|---|---|\n"
        .to_owned();
    for (path, operations) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(answers) = operation["responses"].as_object() else {
                continue;
            };
            let parameters = operation["parameters"].as_array();
            let parameters = parameters.into_iter().flatten();
            let parameters: Vec<_> = parameters
                .filter_map(|parameter| parameter["name"].as_str())
                .map(|name| format!("`{name}`"))
                .collect();
            let about = operation["summary"]
                .as_str()
                .or_else(|| operation["description"].as_str());
            let about = about.unwrap_or_default().replace('\n', " ");
            let about = about.split_inclusive(". ").next().unwrap_or_default();
            let about = about.trim_end();
            let answers: Vec<_> = answers.keys().map(String::as_str).collect();
            // Writing to a string can't fail.
            let _ = writeln!(
                page,
                "| {} {path} | {} | {} | {} |",
                method.to_uppercase(),
                parameters.join(", "),
                about.replace('|', "\\|"),
                answers.join(", ")
            );
        }
    }
    generated("operations.md", &page);
}

#[test]
fn the_page_of_commands_is_that_of_the_code() {
    let mut page = "# Commands\n\nWhat `--help` says, for each command. Options that all commands share are at the first one.\n".to_owned();
    let shared = describe(&mut page, &[], &BTreeSet::new());
    let mut open: Vec<Vec<String>> = subcommands(&[]);
    while !open.is_empty() {
        let command = open.remove(0);
        describe(&mut page, &command, &shared);
        let below = subcommands(&command);
        open.splice(0..0, below);
    }
    generated("cli.md", &page);
}

fn help(command: &[String]) -> String {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = musterd(&arguments).output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below one.
fn subcommands(command: &[String]) -> Vec<Vec<String>> {
    let text = help(command);
    let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    names
        .map(|name| [command, &[name.to_owned()]].concat())
        .collect()
}

/// Adds a command's help without the paragraphs that the first one has; answers its paragraphs.
fn describe(page: &mut String, command: &[String], shared: &BTreeSet<String>) -> BTreeSet<String> {
    let text = help(command);
    let options = text.split("\n\n").map(|part| part.trim_end().to_owned());
    let paragraphs: Vec<String> = options.collect();
    let own = paragraphs.iter().filter(|part| !shared.contains(*part));
    let own: Vec<_> = own.map(String::as_str).collect();
    let title = [&["musterd".to_owned()], command].concat().join(" ");
    // Writing to a string can't fail.
    let _ = write!(
        page,
        "\n## {title}\n\n```text\n{}\n```\n",
        own.join("\n\n").trim_end()
    );
    paragraphs.into_iter().collect()
}
