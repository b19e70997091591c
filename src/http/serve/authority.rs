//! The authority of a request or of an origin: a host and a port (RFC 3986, section 3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host with its port, if one is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Authority<'a> {
    /// Without the brackets of an IPv6 address and without the dot that may end a name.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) is_address: bool,
}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`; none when it has a user, a path, white space or a port that is no number.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']')?;
            // A zone may follow the address: fe80::1%25eth0.
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().ok()?;
            let port = match rest.strip_prefix(':') {
                Some(port) => read_port(port)?,
                None => rest.is_empty().then_some(None)?,
            };
            return Some(Self {
                host,
                port,
                is_address: true,
            });
        }
        let end = text.bytes().position(|byte| !is_of_a_name(byte));
        let (host, port) = match end.and_then(|end| text.split_at_checked(end)) {
            Some((host, port)) => (host, read_port(port.strip_prefix(':')?)?),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        Some(Self {
            host,
            port,
            is_address: host.parse::<Ipv4Addr>().is_ok(),
        })
    }

    /// Whether both mean the same, where a port that is left out is `default`.
    pub(super) fn is_same(&self, other: &Self, default: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }
}

/// A port, which may be left out behind its colon.
fn read_port(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().map(Some)
}

/// A byte of a registered name (RFC 3986, section 3.2.2).
fn is_of_a_name(byte: u8) -> bool {
    OF_A_NAME[usize::from(byte)]
}

/// For each byte whether it is one: every request has a Host.
const OF_A_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = u8::MAX;
    while byte > 0 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte -= 1;
    }
    table
};

#[cfg(test)]
mod tests;
