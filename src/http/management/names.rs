//! Names that RabbitMQ makes: of the node, of connections and channels, of bindings. Pure.

use std::fmt::Write as _;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::BrokerAddresses;
use crate::broker::{
    server::ConnectionView,
    vhost::{BindingView, json_table},
};

/// The only node.
pub(super) const NODE: &str = "musterd@localhost";

/// A connection's name: both ends.
pub(super) fn connection(view: &ConnectionView, addresses: BrokerAddresses) -> String {
    if view.peer.is_empty() {
        return format!("<{}@{NODE}>", view.id);
    }
    let own = match view.tls {
        true => addresses.amqps,
        false => addresses.amqp,
    };
    match own {
        Some(own) => format!("{} -> {own}", view.peer),
        None => view.peer.clone(),
    }
}

/// A channel's name.
pub(super) fn channel(connection: &str, number: u16) -> String {
    format!("{connection} ({number})")
}

/// What tells a binding from others between the same two ends: its key and a hash of its arguments.
pub(super) fn binding(view: &BindingView) -> String {
    let arguments = json_table(&view.arguments.0);
    let has_arguments = arguments
        .as_object()
        .is_some_and(|fields| !fields.is_empty());
    let mut key = quoted(&view.routing_key);
    if view.routing_key.is_empty() || has_arguments {
        key.push('~');
    }
    if has_arguments {
        let hash = crc32(arguments.to_string().as_bytes());
        key.push_str(&URL_SAFE_NO_PAD.encode(hash.to_be_bytes()));
    }
    key
}

fn quoted(key: &str) -> String {
    let mut quoted = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                quoted.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(quoted, "%{byte:02X}")),
        }
    }
    quoted
}

fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The two parts of an address.
pub(super) fn host_and_port(peer: &str) -> (String, u16) {
    match peer.parse::<std::net::SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => (String::new(), 0),
    }
}
