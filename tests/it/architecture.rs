//! The house rules, checked on every test run: who may import whom, which word belongs to which
//! room, which room defines a type's name, how long a file may grow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Each room and the rooms it may name, besides `quantity`. Lower rooms never name higher ones.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("quantity", &[]),
    ("disk", &[]),
    ("failures", &[]),
    ("tls", &[]),
    ("model", &[]),
    ("registry", &["model"]),
    ("kv", &["model", "registry"]),
    ("security", &["model", "failures", "tls"]),
    ("outbound", &["model", "tasks", "telemetry", "tls"]),
    (
        "health",
        &[
            "model",
            "registry",
            "api",
            "catalog",
            "outbound",
            "tasks",
            "telemetry",
        ],
    ),
    ("api", &["model"]),
    ("catalog", &["model", "registry", "kv", "security"]),
    ("gateway", &["model", "registry", "catalog"]),
    (
        "transport",
        &[
            "model",
            "registry",
            "api",
            "catalog",
            "outbound",
            "broker",
            "security",
            "tasks",
            "telemetry",
        ],
    ),
    (
        "migration",
        &["model", "registry", "api", "tasks", "telemetry"],
    ),
    ("broker", &["disk", "failures", "tls"]),
    (
        "monitor",
        &[
            "model",
            "registry",
            "kv",
            "api",
            "transport",
            "broker",
            "http",
            "store",
            "tasks",
            "telemetry",
        ],
    ),
    (
        "http",
        &[
            "model",
            "registry",
            "kv",
            "api",
            "catalog",
            "gateway",
            "security",
            "broker",
            "tasks",
            "telemetry",
            "tls",
        ],
    ),
    (
        "dns",
        &["model", "registry", "security", "catalog", "telemetry"],
    ),
    (
        "config",
        &[
            "dns",
            "registry",
            "health",
            "http",
            "outbound",
            "transport",
            "migration",
            "broker",
            "store",
            "security",
            "tasks",
            "telemetry",
        ],
    ),
    ("store", &["disk"]),
    ("telemetry", &[]),
    ("tasks", &[]),
    ("cli", &["app", "api", "config", "telemetry", "tls"]),
];

/// Rooms that see everything: the composition root and the binary.
const ROOTS: &[&str] = &["lib", "main", "app"];

/// Words that belong to some rooms, or to folders and files in them.
const ONLY_IN: &[(&str, &[&str])] = &[
    // Of transport only the one implementation; of telemetry only the filter of its log lines.
    ("lapin", &["transport/rabbitmq", "telemetry/logs.rs"]),
    ("axum", &["http"]),
    ("std::env", &["config"]),
    // Every write that comes by a door passes the catalog, which judges it.
    (".submit(", &["registry", "catalog"]),
    ("registry.heartbeat(", &["registry", "catalog"]),
    ("registry.check_passed(", &["registry", "catalog"]),
    ("registry().heartbeat(", &["registry", "catalog"]),
    ("registry().check_passed(", &["registry", "catalog"]),
    (
        "SystemTime",
        &["registry", "broker", "store", "transport", "telemetry"],
    ),
];

/// Type names that several rooms define. `Config` is the section of the configuration that belongs to a room.
const IN_SEVERAL_ROOMS: &[&str] = &["Config"];

const LINES_MAX: usize = 500;

#[test]
fn every_file_keeps_the_house_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    let mut seen = 0;
    visit(&src, &mut |path, text| {
        seen += 1;
        let inside = path
            .strip_prefix(&src)
            .expect("under src")
            .display()
            .to_string();
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        let code = without_comments(text);
        check(&inside, room, &code, &mut broken);
        let lines = text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{inside}: {lines} lines, at most {LINES_MAX}"));
        }
        if inside.ends_with("mod.rs") {
            broken.push(format!(
                "{inside}: a room's front door is foo.rs, not foo/mod.rs"
            ));
        }
    });
    assert!(seen > 20, "the checker found only {seen} files");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_type_name_is_defined_in_one_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    visit(&src, &mut |path, text| {
        let inside = path.strip_prefix(&src).expect("under src");
        let mut folders = inside
            .iter()
            .map(|part| part.to_string_lossy().replace(".rs", ""));
        let room = folders.next().expect("a file or folder of src");
        if folders.any(|folder| folder == "tests" || folder == "testing") {
            return;
        }
        for name in defined_types(text) {
            rooms.entry(name).or_default().insert(room.clone());
        }
    });
    assert!(rooms.len() > 500, "only {} types were found", rooms.len());
    rooms.retain(|name, rooms| rooms.len() > 1 && !IN_SEVERAL_ROOMS.contains(&name.as_str()));
    assert!(
        rooms.is_empty(),
        "rename these types in all rooms but one: {rooms:#?}"
    );
}

/// The names of the structs, enums, traits, unions and type aliases of a file, without those under `cfg(test)`.
/// Indented aliases are left out: they are associated types.
fn defined_types(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut tests_indent = None;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if tests_indent == Some(indent) && code.ends_with([';', '}']) {
            tests_indent = None;
        } else if tests_indent.is_none() && code.starts_with("#[cfg(test)]") {
            tests_indent = Some(indent);
        } else if tests_indent.is_none() {
            names.extend(defined_type(code, indent));
        }
    }
    names
}

fn defined_type(code: &str, indent: usize) -> Option<String> {
    let item = match code.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => code,
    };
    let mut words = item.split_whitespace();
    match words.next()? {
        "struct" | "enum" | "trait" | "union" => (),
        "type" if indent == 0 => (),
        _ => return None,
    }
    words.next().map(word).filter(|name| !name.is_empty())
}

fn check(inside: &str, room: &str, code: &str, broken: &mut Vec<String>) {
    if ROOTS.contains(&room) {
        return;
    }
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        broken.push(format!("{inside}: room \"{room}\" is not on the plan"));
        return;
    };
    for named in named_rooms(code) {
        if named != room && named != "quantity" && !allowed.contains(&named.as_str()) {
            broken.push(format!("{inside}: names {named}"));
        }
    }
    // A call may be written over several lines.
    let code: String = code.split_whitespace().collect();
    for (word, places) in ONLY_IN {
        if code.contains(word) && !places.iter().any(|place| is_in(inside, place)) {
            broken.push(format!("{inside}: says {word}"));
        }
    }
}

/// Whether a file of `src` is this one, or belongs to this room or folder.
fn is_in(inside: &str, place: &str) -> bool {
    match inside.strip_prefix(place) {
        Some(rest) => rest.is_empty() || rest == ".rs" || rest.starts_with('/'),
        None => false,
    }
}

fn without_comments(text: &str) -> String {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// Every top-level room named after `crate::`, grouped imports included.
fn named_rooms(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push(word(rest));
            continue;
        };
        let mut depth = 0_u32;
        let mut item_starts = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item_starts = true,
                c if item_starts && c.is_alphabetic() => {
                    rooms.push(word(&group[i..]));
                    item_starts = false;
                }
                _ => (),
            }
        }
    }
    rooms
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn visit(dir: &Path, check: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            visit(&path, check);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            check(&path, &fs::read_to_string(&path).expect("readable file"));
        }
    }
}

#[test]
fn the_checker_sees_what_it_should() {
    let text = "use crate::{\n    model::{Event, Instance},\n    registry::Registry,\n};";
    assert_eq!(named_rooms(text), ["model", "registry"]);
    let faults_in = |inside: &str, room: &str, code: &str| {
        let mut broken = Vec::new();
        check(inside, room, code, &mut broken);
        broken
    };
    let faults = |room: &str, code: &str| faults_in("x.rs", room, code);
    assert_eq!(
        faults("model", "use crate::http::Config;"),
        ["x.rs: names http"]
    );
    assert_eq!(
        faults("broker", "use crate::model::Event;"),
        ["x.rs: names model"]
    );
    assert_eq!(faults("registry", "use axum::Router;"), ["x.rs: says axum"]);
    assert_eq!(faults("attic", "").len(), 1);
    assert_eq!(
        faults("http", "use crate::{api, registry::Registry};"),
        [""; 0]
    );
    for write in [
        "self.registry.heartbeat(id, None)",
        "self.registry\n    .heartbeat(id, None)",
        "catalog.registry().heartbeat(id, None)",
        "catalog\n    .registry()\n    .check_passed(&of)",
        "catalog.registry().submit(command, None)",
    ] {
        assert_eq!(faults_in("http/rest.rs", "http", write).len(), 1, "{write}");
        assert_eq!(faults_in("catalog.rs", "catalog", write), [""; 0]);
    }
    let client = "use lapin::Channel;";
    for inside in ["transport/rabbitmq.rs", "transport/rabbitmq/channel.rs"] {
        assert_eq!(faults_in(inside, "transport", client), [""; 0], "{inside}");
    }
    for inside in [
        "transport/amqp/link.rs",
        "transport/rabbitmq2.rs",
        "telemetry.rs",
    ] {
        let room = inside.split(['/', '.']).next().unwrap();
        let said = format!("{inside}: says lapin");
        assert_eq!(faults_in(inside, room, client), [said]);
    }
}

#[test]
fn the_checker_finds_type_definitions() {
    let text = "/// struct Comment\npub(in crate::http) struct Tuple(u8);\nstruct Plain;\n\
                pub(crate) enum Choice<T> {}\npub trait Seam: Send {\n    type Associated;\n}\n\
                type Alias = u8;\nmod inner {\n    union Both {}\n}\n\
                #[cfg(test)]\nmod tests {\n    struct Hidden {\n    }\n}\n#[cfg(test)]\nstruct Short;\n\
                struct Last;";
    assert_eq!(
        defined_types(text),
        ["Tuple", "Plain", "Choice", "Seam", "Alias", "Both", "Last"]
    );
}
