//! Section `consul`.

use bytesize::ByteSize;
use serde::Deserialize;

use crate::{
    kv::KvLimits,
    quantity::{Bounded, GIB, KIB, MIB},
};

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
    /// The most bytes of one value.
    pub kv_value_max: Bounded<ByteSize, 1, { 64 * MIB }>,
    /// The most keys.
    pub kv_keys_max: Bounded<usize, 1, 10_000_000>,
    /// The most bytes of all keys and values.
    pub kv_bytes_max: Bounded<ByteSize, KIB, { 64 * GIB }>,
    /// The most sessions.
    pub sessions_max: Bounded<usize, 1, 1_000_000>,
    /// The most operations of one transaction.
    pub txn_ops_max: Bounded<usize, 1, 1024>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8500".to_owned(),
            datacenter: "dc1".to_owned(),
            node_name: String::new(),
            node_address: String::new(),
            enable_script_checks: false,
            kv_value_max: ByteSize::kib(512).into(),
            kv_keys_max: 100_000.into(),
            kv_bytes_max: ByteSize::mib(64).into(),
            sessions_max: 10_000.into(),
            txn_ops_max: 64.into(),
        }
    }
}

impl Config {
    /// The limits of keys and sessions.
    pub fn kv_limits(&self) -> KvLimits {
        let bytes = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        KvLimits {
            value_max: bytes(self.kv_value_max.get()),
            keys_max: self.kv_keys_max.get(),
            bytes_max: bytes(self.kv_bytes_max.get()),
            sessions_max: self.sessions_max.get(),
        }
    }

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
