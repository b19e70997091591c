//! Which addresses may be connected to. Pure: judges addresses, never names.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// Link-local networks, and the addresses at which clouds give out credentials.
const DENIED_BY_DEFAULT: [&str; 7] = [
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
];

/// The networks that may be connected to: those allowed and not denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Networks {
    allow: Box<[IpNet]>,
    deny: Box<[IpNet]>,
}

/// An address that is forbidden, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeniedAddress {
    /// The address.
    pub address: IpAddr,
    /// The rule that denies it.
    pub rule: DenyRule,
}

/// The rules that deny an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DenyRule {
    /// A network in `outbound.deny`.
    Listed(IpNet),
    /// No network in `outbound.allow` contains it.
    NotAllowed,
    /// It is a multicast or reserved address.
    NoMachine,
}

impl fmt::Display for DeniedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match self.rule {
            DenyRule::Listed(net) => {
                write!(f, "outbound.deny lists {net}, which contains {address}")
            }
            DenyRule::NotAllowed => write!(f, "no network in outbound.allow contains {address}"),
            DenyRule::NoMachine => write!(f, "{address} is a multicast or reserved address"),
        }
    }
}

/// The default of `outbound.allow`: everything.
pub(super) fn allowed_by_default() -> Vec<IpNet> {
    parse(&["0.0.0.0/0", "::/0"])
}

/// The default of `outbound.deny`.
pub(super) fn denied_by_default() -> Vec<IpNet> {
    parse(&DENIED_BY_DEFAULT)
}

fn parse(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

impl Networks {
    /// The networks in `allow` without those in `deny`.
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self {
            allow: allow.into(),
            deny: deny.into(),
        }
    }

    /// The address to connect to for `address`, if it is allowed.
    ///
    /// The unspecified address reaches this machine, so it counts as, and is replaced by, the loopback
    /// address. An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, …) is checked as well.
    ///
    /// # Errors
    /// The rule that denies it.
    pub fn check(&self, address: IpAddr) -> Result<IpAddr, DeniedAddress> {
        let target = canonical(address);
        let denied = |rule| DeniedAddress { address, rule };
        if is_no_machine(target) {
            return Err(denied(DenyRule::NoMachine));
        }
        if !self.allow.iter().any(|net| net.contains(&target)) {
            return Err(denied(DenyRule::NotAllowed));
        }
        let mut forms = vec![target];
        if let IpAddr::V6(v6) = target {
            embedded(v6, &mut forms);
        }
        let listed = |net: &&IpNet| forms.iter().any(|form| net.contains(form));
        match self.deny.iter().find(listed) {
            Some(net) => Err(denied(DenyRule::Listed(*net))),
            None => Ok(target),
        }
    }
}

/// The address that is really reached.
fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

fn is_no_machine(address: IpAddr) -> bool {
    match address {
        // 0/8 is "this network"; 240/4 is reserved and includes broadcast.
        IpAddr::V4(v4) => v4.is_multicast() || matches!(v4.octets()[0], 0 | 240..),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// Appends the IPv4 addresses to which a gateway would send what goes to `v6`.
fn embedded(v6: Ipv6Addr, out: &mut Vec<IpAddr>) {
    let o = v6.octets();
    let mut push = |a: u8, b: u8, c: u8, d: u8| out.push(Ipv4Addr::new(a, b, c, d).into());
    let low_only = o[..12].iter().all(|octet| *octet == 0);
    match v6.segments() {
        // Loopback, no embedded form.
        [0, 0, 0, 0, 0, 0, 0, 1] => (),
        // IPv4-compatible (RFC 4291, section 2.5.5.1).
        _ if low_only => push(o[12], o[13], o[14], o[15]),
        // NAT64 (RFC 6052, section 2.1).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => push(o[12], o[13], o[14], o[15]),
        // Local NAT64 (RFC 8215), with a prefix of 96, 64, 56 or 48 bits.
        [0x64, 0xff9b, 1, ..] => {
            push(o[12], o[13], o[14], o[15]);
            push(o[9], o[10], o[11], o[12]);
            push(o[7], o[9], o[10], o[11]);
            push(o[6], o[7], o[9], o[10]);
        }
        // 6to4 (RFC 3056, section 2).
        [0x2002, ..] => push(o[2], o[3], o[4], o[5]),
        // Teredo (RFC 4380, section 4): the server, and the client with its bits flipped.
        [0x2001, 0, ..] => {
            push(o[4], o[5], o[6], o[7]);
            push(!o[12], !o[13], !o[14], !o[15]);
        }
        // ISATAP (RFC 5214, section 6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => push(o[12], o[13], o[14], o[15]),
        // IPv4-translated (RFC 2765, section 2.1).
        [0, 0, 0, 0, 0xffff, 0, _, _] => push(o[12], o[13], o[14], o[15]),
        _ => (),
    }
}

#[cfg(test)]
mod tests;
