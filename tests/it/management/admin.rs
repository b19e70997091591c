//! RabbitMQ's own command line tool, from its package.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::{Managed, succeeded};

struct Admin<'a> {
    managed: &'a Managed,
    script: PathBuf,
    home: tempfile::TempDir,
}

impl<'a> Admin<'a> {
    fn of(managed: &'a Managed) -> Self {
        Self {
            managed,
            script: rabbitmqadmin(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs it with these words.
    fn output(&self, words: &str) -> Output {
        let mut command = Command::new("python3");
        command.arg(&self.script);
        command.args(["--port", self.managed.port()]);
        command.args(words.split_whitespace());
        command.env("HOME", self.home.path());
        command.output().unwrap()
    }

    #[track_caller]
    fn run(&self, words: &str) -> String {
        succeeded(&self.output(words)).trim().to_owned()
    }

    #[track_caller]
    fn json(&self, words: &str) -> Value {
        let text = self.run(&format!("--format=raw_json {words}"));
        serde_json::from_str(&text).unwrap()
    }
}

fn rabbitmqadmin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/rabbitmq/lib");
    let versions =
        versions.expect("rabbitmqadmin is of the package rabbitmq-server: run tests/setup");
    let inside = versions.flat_map(|version| {
        let plugins = version.unwrap().path().join("plugins");
        std::fs::read_dir(plugins).into_iter().flatten()
    });
    let mut scripts =
        inside.map(|plugin| plugin.unwrap().path().join("priv/www/cli/rabbitmqadmin"));
    let script = scripts.find(|script| script.exists());
    script.expect("the management plugin of the package rabbitmq-server has rabbitmqadmin")
}

#[test]
fn rabbitmqadmin_declares_publishes_gets_lists_exports_and_imports() {
    let managed = Managed::start(&[]);
    let admin = Admin::of(&managed);
    admin.run("declare exchange name=admin-x type=topic");
    admin.run("declare queue name=admin-q durable=true arguments={\"x-max-length\":5}");
    admin.run("declare binding source=admin-x destination=admin-q routing_key=a.*");
    let published = admin.run("publish exchange=admin-x routing_key=a.b payload=hello");
    assert_eq!(published, "Message published");
    let nowhere = admin.run("publish exchange=admin-x routing_key=none payload=hello");
    assert_eq!(nowhere, "Message published but NOT routed");
    let got = admin.json("get queue=admin-q ackmode=ack_requeue_true");
    assert_eq!(got[0]["payload"], "hello");
    assert_eq!(got[0]["exchange"], "admin-x");
    let list = admin.json("list queues name messages arguments");
    let mut queues = list.as_array().unwrap().iter();
    let queue = queues.find(|one| one["name"] == "admin-q").unwrap();
    let expected = json!({"name": "admin-q", "messages": 1, "arguments": {"x-max-length": 5}});
    assert_eq!(*queue, expected);
    for what in [
        "exchanges",
        "bindings",
        "connections",
        "channels",
        "consumers",
        "users",
        "vhosts",
        "permissions",
        "nodes",
        "parameters",
        "policies",
    ] {
        admin.run(&format!("list {what}"));
    }
    assert!(admin.run("show overview").contains("3.10.8"));
    let file = admin.home.path().join("definitions.json");
    let file = file.to_str().unwrap();
    admin.run("declare policy name=admin-p pattern=^admin definition={\"expires\":60000}");
    admin.run(&format!("export {file}"));
    admin.run("purge queue name=admin-q");
    admin.run("delete queue name=admin-q");
    admin.run("delete exchange name=admin-x");
    admin.run("delete policy name=admin-p");
    assert!(!admin.output("delete queue name=admin-q").status.success());
    admin.run(&format!("import {file}"));
    let list = admin.json("list bindings");
    let mut bindings = list.as_array().unwrap().iter();
    let binding = bindings.find(|one| one["source"] == "admin-x").unwrap();
    assert_eq!(binding["routing_key"], "a.*");
    assert_eq!(admin.json("list policies")[0]["name"], "admin-p");
}

#[test]
fn rabbitmqadmin_makes_users_who_do_what_they_may() {
    let managed = Managed::start(&[]);
    let admin = Admin::of(&managed);
    admin.run("declare user name=maker password=a-secret tags=management");
    admin.run("declare permission vhost=/ user=maker configure=^own- write=.* read=.*");
    let as_maker = |words: &str| format!("--username=maker --password=a-secret {words}");
    admin.run(&as_maker("declare queue name=own-q"));
    let denied = admin.output(&as_maker("declare queue name=other-q"));
    assert!(!denied.status.success());
    let (stdout, stderr) = (
        String::from_utf8_lossy(&denied.stdout),
        String::from_utf8_lossy(&denied.stderr),
    );
    assert!(
        format!("{stdout}{stderr}").contains("Access refused"),
        "{stdout}{stderr}"
    );
    admin.run("delete user name=maker");
    assert!(!admin.output(&as_maker("list queues")).status.success());
}
