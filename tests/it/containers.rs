//! The files for containers.

use std::{fs, path::Path, process::Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// `docker compose` where the plugin is there, else Debian's `docker-compose`; neither needs an engine
/// to read a file.
fn compose(arguments: &[&str]) -> String {
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    let mut command = if plugin.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    } else {
        Command::new("docker-compose")
    };
    let output = command.current_dir(ROOT).args(arguments).output();
    let output = output.expect("docker compose is there: apt-get install docker-compose");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_compose_file_is_valid_and_publishes_on_loopback_only() {
    let config = compose(&["config"]);
    assert!(config.contains("musterd:"), "{config}");
    let file = fs::read_to_string(Path::new(ROOT).join("docker-compose.yml")).unwrap();
    let mut published = 0;
    for line in file.lines().map(str::trim) {
        if let Some(port) = line
            .strip_prefix("- ")
            .filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit()))
        {
            assert!(port.starts_with("127.0.0.1:"), "{port}");
            published += 1;
        }
    }
    assert!(published > 0, "it publishes something");
}

#[test]
fn the_image_runs_unprivileged_and_has_a_health_check() {
    let file = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
    let last = file.rsplit("FROM ").next().unwrap();
    assert!(last.contains("USER 65532:65532"), "{last}");
    assert!(
        last.contains("HEALTHCHECK") && last.contains(r#"["musterd", "health"]"#),
        "{last}"
    );
    for line in file.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let sources: Vec<_> = line.split_whitespace().collect();
        for source in &sources[..sources.len() - 1] {
            assert!(Path::new(ROOT).join(source).exists(), "COPY {source}");
        }
    }
}
