//! Section `consul`.

use serde::Deserialize;

/// Where the kernel shows the name of the machine.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// The name of the node on a machine without one.
const NAMELESS: &str = "musterd";

/// Section `consul`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen; empty switches the door off.
    pub listen: String,
    /// The datacenter that requests may name.
    pub datacenter: String,
    /// The node of all instances that name none; empty for the name of the machine.
    pub node_name: String,
    /// The address of that node; empty for the one that the door listens on.
    pub node_address: String,
    /// Whether checks may run programs on this machine.
    pub enable_script_checks: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8500".to_owned(),
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            node_address: String::new(),
            enable_script_checks: false,
        }
    }
}

impl Config {
    /// Everything that is wrong with it, each as a sentence that names the key.
    pub fn faults(&self) -> Vec<String> {
        let is_name = |text: &str, more: &str| {
            text.len() <= 128
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let mut faults = Vec::new();
        if self.datacenter.is_empty() || !is_name(&self.datacenter, "-_") {
            faults.push(format!(
                "consul.datacenter \"{}\" is not 1 to 128 letters, digits, \"-\" and \"_\"",
                self.datacenter
            ));
        }
        if !is_name(&self.node_name, "-_.") {
            faults.push(format!(
                "consul.node_name \"{}\" is not up to 128 letters, digits, \"-\", \"_\" and \".\"",
                self.node_name
            ));
        }
        let address = &self.node_address;
        if address.len() > 253 || address.contains(|c: char| c.is_whitespace() || c == '/') {
            faults.push(format!(
                "consul.node_address \"{address}\" is not a host name or an address"
            ));
        }
        faults
    }

    /// The name of the node, looked up where the configuration has none.
    pub(super) fn node(&self) -> String {
        if !self.node_name.is_empty() {
            return self.node_name.clone();
        }
        let name = std::fs::read_to_string(HOSTNAME).unwrap_or_default();
        match name.trim() {
            "" => NAMELESS.to_owned(),
            name => name.to_owned(),
        }
    }
}
