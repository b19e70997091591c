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
    for (profile, service) in [("rabbitmq", "rabbitmq:"), ("observe", "grafana:")] {
        let config = compose(&["--profile", profile, "config"]);
        assert!(config.contains(service), "{config}");
    }
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

/// The variables that a file sets for the daemon: `NAME=value` or `NAME: value`. Those with a default of their own
/// (`${…}`) are left out.
fn variables(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let lines = text
        .lines()
        .map(|line| line.trim().trim_start_matches("ENV "));
    let words = lines.flat_map(|line| match line.split_once(": ") {
        Some((name, value)) if name.starts_with("MUSTERD__") => vec![(name, value)],
        _ => line
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .collect(),
    });
    let set = words.filter(|(name, value)| name.starts_with("MUSTERD__") && !value.contains("${"));
    set.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The image has authentication; the compose file switches it off, since its ports are this machine's.
#[test]
fn the_image_and_the_compose_file_are_safe_to_start() {
    let image = variables("Dockerfile");
    let compose = [image.clone(), variables("docker-compose.yml")].concat();
    let auth = |of: &[(String, String)]| {
        let mut values = of
            .iter()
            .filter(|(name, _)| name == "MUSTERD__SECURITY__AUTH");
        values.next_back().unwrap().1.clone()
    };
    assert_eq!(
        (auth(&image), auth(&compose)),
        ("on".to_owned(), "off".to_owned())
    );
    for variables in [image, compose] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_musterd"));
        let output = command
            .arg("check-config")
            .envs(variables.clone())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{variables:?}: {told}");
    }
}
