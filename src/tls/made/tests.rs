use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::{ClientFiles, MinVersion, ServerFiles, names_of};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_files_are_a_server_and_its_root_and_no_one_else_reads_them() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/tls");
    let hosts = names(&["registry.example.com", "127.0.0.1"]);
    let made = make(&folder, &hosts, (2026, 2, 30), 1).unwrap();
    for file in ["ca.pem", "ca.key", "server.pem", "server.key"] {
        let mode = fs::metadata(folder.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let server = ServerFiles {
        section: "http.tls",
        certificate: made.certificate.clone(),
        key: made.key,
        clients: None,
        min_version: MinVersion::default(),
        protocols: &[],
    };
    // Its year begins at the start of this day.
    let (_, end) = server.server().unwrap();
    assert_eq!(end % 86_400, 0);
    let roots = ClientFiles {
        roots: ("--ca".to_owned(), made.ca),
        ..ClientFiles::default()
    };
    roots.read().unwrap().verifying().unwrap();
    let pem = fs::read(made.certificate).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    assert_eq!(names_of(&pem.contents).dns, ["registry.example.com"]);
}

#[test]
fn nothing_is_overwritten_and_a_strange_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = names(&["localhost"]);
    make(folder.path(), &hosts, (2026, 1, 1), 1).unwrap();
    let refused = make(folder.path(), &hosts, (2026, 1, 1), 1).unwrap_err();
    assert!(refused.to_string().contains("exists already"), "{refused}");
    let other = folder.path().join("other");
    let refused = make(&other, &names(&["b\u{fc}cher"]), (2026, 1, 1), 1).unwrap_err();
    assert!(
        refused.to_string().contains("is not a host name"),
        "{refused}"
    );
    assert!(!other.exists());
}
