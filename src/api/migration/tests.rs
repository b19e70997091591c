use std::time::Duration;

use super::{MigrationAction, MigrationDraft, MigrationMode};

#[test]
fn a_start_reads_its_mode_and_its_soak() {
    let (draft, warnings) =
        MigrationDraft::read(br#"{"action":"START","mode":"step","soak":"2m"}"#).unwrap();
    assert_eq!(
        draft,
        MigrationDraft {
            action: MigrationAction::Start,
            mode: Some(MigrationMode::Step),
            soak: Some(Duration::from_secs(120)),
        }
    );
    assert!(warnings.0.is_empty());
    let (_, warnings) = MigrationDraft::read(br#"{"action":"pause","hurry":1}"#).unwrap();
    assert!(!warnings.0.is_empty());
}

#[track_caller]
fn refused(body: &str, fields: &[&str]) {
    let problem = MigrationDraft::read(body.as_bytes()).unwrap_err();
    assert_eq!(problem.status, 422);
    let named: Vec<_> = problem
        .errors
        .iter()
        .map(|one| one.field.as_str())
        .collect();
    assert_eq!(named, fields, "{body}");
}

#[test]
fn every_wrong_field_is_named() {
    refused("{}", &["action"]);
    refused(r#"{"action":"go"}"#, &["action"]);
    refused(
        r#"{"action":"start","mode":"fast","soak":"soon"}"#,
        &["mode", "soak"],
    );
    refused(r#"{"action":"start","soak":"31d"}"#, &["soak"]);
    refused(r#"{"action":"advance","soak":"1s"}"#, &["soak"]);
    refused("", &["body"]);
}
