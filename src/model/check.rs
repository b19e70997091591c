//! The health checks of an instance: what is asked, how often, and how a probe can end.

use std::{ops::RangeInclusive, time::Duration};

use super::{Standing, instance::allocated};

/// One check of an instance. Its name is unique within the instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// Its name in reports and logs.
    pub name: Box<str>,
    /// The kind of the probe.
    pub kind: CheckKind,
    /// Time between two probes; for a TTL check the longest silence.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Successes in a row that make it healthy.
    pub healthy_after: u32,
    /// Failures in a row that make it unhealthy.
    pub unhealthy_after: u32,
    /// What only checks in Consul's form have.
    pub options: Option<Box<CheckOptions>>,
}

/// What a check in Consul's form has besides. Its name is the id of the check there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckOptions {
    /// Its name for people.
    pub title: Box<str>,
    /// Text for people.
    pub notes: Box<str>,
    /// What it says before its first result.
    pub initial: Standing,
    /// Failures in a row that make it warn; 0 for never.
    pub warning_after: u32,
    /// Its instance is removed when it has been critical for so long.
    pub remove_after: Option<Duration>,
}

impl CheckOptions {
    fn size(&self) -> usize {
        const JSON_BYTES: usize = 80;
        JSON_BYTES + self.title.len() + self.notes.len()
    }

    fn memory(&self) -> usize {
        allocated(size_of::<Self>()) + allocated(self.title.len()) + allocated(self.notes.len())
    }
}

/// The kinds of checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckKind {
    /// An HTTP or HTTPS request.
    Http(Box<HttpCheck>),
    /// A TCP connection to `host:port`.
    Tcp {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
    },
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
        /// The service asked for; empty asks for the server as a whole.
        service: Box<str>,
        /// Over TLS.
        tls: bool,
        /// Accept any certificate.
        tls_skip_verify: bool,
    },
    /// A heartbeat within every interval. With options: a report of its standing within every interval.
    Ttl,
    /// A datagram to `host:port` that is not refused.
    Udp {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
    },
    /// A ping of HTTP/2.
    H2Ping {
        /// Name or address, without brackets.
        host: Box<str>,
        /// 1-65535.
        port: u16,
        /// Over TLS.
        tls: bool,
        /// Accept any certificate.
        tls_skip_verify: bool,
    },
    /// What another instance's checks say.
    Alias {
        /// Its id.
        service_id: Box<str>,
    },
    /// A program on the daemon's machine.
    Script {
        /// The program and its arguments.
        args: Box<[Box<str>]>,
    },
}

impl Check {
    /// True for a check that clients report on.
    pub fn is_reported(&self) -> bool {
        self.kind == CheckKind::Ttl && self.options.is_some()
    }

    /// What it says before its first result.
    pub fn initial(&self) -> Standing {
        let options = self.options.as_ref();
        options.map_or(Standing::Critical, |options| options.initial)
    }

    /// The bytes of its JSON, roughly.
    pub fn size(&self) -> usize {
        const JSON_BYTES: usize = 200;
        JSON_BYTES
            + self.name.len()
            + self.options.as_ref().map_or(0, |options| options.size())
            + match &self.kind {
                CheckKind::Http(http) => http.size(),
                CheckKind::Tcp { host, .. }
                | CheckKind::Udp { host, .. }
                | CheckKind::H2Ping { host, .. } => host.len(),
                CheckKind::Grpc { host, service, .. } => host.len() + service.len(),
                CheckKind::Alias { service_id } => service_id.len(),
                CheckKind::Script { args } => args.iter().map(|arg| arg.len() + 3).sum(),
                CheckKind::Ttl => 0,
            }
    }

    /// The bytes that its fields allocate, besides itself.
    pub(super) fn memory(&self) -> usize {
        allocated(self.name.len())
            + self.options.as_ref().map_or(0, |options| options.memory())
            + match &self.kind {
                CheckKind::Http(http) => allocated(size_of::<HttpCheck>()) + http.memory(),
                CheckKind::Tcp { host, .. }
                | CheckKind::Udp { host, .. }
                | CheckKind::H2Ping { host, .. } => allocated(host.len()),
                CheckKind::Alias { service_id } => allocated(service_id.len()),
                CheckKind::Script { args } => {
                    let texts: usize = args.iter().map(|arg| allocated(arg.len())).sum();
                    allocated(size_of_val(&**args)) + texts
                }
                CheckKind::Grpc { host, service, .. } => {
                    allocated(host.len()) + allocated(service.len())
                }
                CheckKind::Ttl => 0,
            }
    }
}

impl HttpCheck {
    fn size(&self) -> usize {
        const PER_ITEM: usize = 6;
        let header = |(name, value): &(Box<str>, Box<str>)| name.len() + value.len() + PER_ITEM;
        self.url.len()
            + self.method.len()
            + self.headers.iter().map(header).sum::<usize>()
            + self.expected.len() * 10
    }

    fn memory(&self) -> usize {
        let header =
            |(name, value): &(Box<str>, Box<str>)| allocated(name.len()) + allocated(value.len());
        allocated(self.url.len())
            + allocated(self.method.len())
            + allocated(size_of_val(&*self.headers))
            + allocated(size_of_val(&*self.expected))
            + self.headers.iter().map(header).sum::<usize>()
    }
}

impl CheckKind {
    /// The contract's word for the kind.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc { .. } => "grpc",
            Self::Ttl => "ttl",
            Self::Udp { .. } => "udp",
            Self::H2Ping { .. } => "h2ping",
            Self::Alias { .. } => "alias",
            Self::Script { .. } => "script",
        }
    }
}

/// How one probe ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckOutcome {
    /// As the check asks for it.
    Passed,
    /// In another way.
    Failed,
    /// Not at all, until its time was over.
    TimedOut,
    /// Before it began: the configuration forbids to reach the address.
    Denied,
    /// Not begun, because the prober lacked a resource. It says nothing about the instance.
    Skipped,
    /// As the check asks for it, with a warning.
    Warned,
}

impl CheckOutcome {
    /// Every outcome.
    pub const ALL: [Self; 6] = [
        Self::Passed,
        Self::Failed,
        Self::TimedOut,
        Self::Denied,
        Self::Skipped,
        Self::Warned,
    ];

    /// True when it counts as a success.
    pub fn is_pass(self) -> bool {
        matches!(self, Self::Passed | Self::Warned)
    }

    /// The word for it in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
            Self::Warned => "warned",
        }
    }

    /// The outcome that a word means.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }
}

/// An HTTP or HTTPS request and what counts as a pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpCheck {
    /// Absolute, `http` or `https`, with a host.
    pub url: Box<str>,
    /// `GET`, `HEAD`, …
    pub method: Box<str>,
    /// Names and values sent with it.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// Codes that pass.
    pub expected: Box<[CodeRange]>,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
    /// How many redirects are followed, 0 to [`REDIRECTS_MAX`].
    pub redirects: u8,
}

/// The most redirects that an HTTP check may follow.
pub const REDIRECTS_MAX: u8 = 5;

/// Headers by which a server takes a GET for another method.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Headers that carry credentials.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

impl HttpCheck {
    /// True for a method that reads and does nothing else.
    pub fn is_safe_method(method: &str) -> bool {
        matches!(method, "GET" | "HEAD")
    }

    /// Why a check may not send this header unless `health.unsafe_requests` is set; none when it may.
    ///
    /// A check is an HTTP request that a client chooses and the daemon sends, often from a network that
    /// the client can't reach. So it must not select another virtual host, log in, or change anything.
    pub fn unsafe_header(name: &str) -> Option<&'static str> {
        let is = |known: &&str| name.eq_ignore_ascii_case(known);
        if is(&"host") {
            Some("names another host than the URL")
        } else if CREDENTIALS.iter().any(is) {
            Some("carries credentials")
        } else if METHOD_OVERRIDES.iter().any(is) {
            Some("asks for another method")
        } else {
            None
        }
    }

    /// The part of the request that needs `health.unsafe_requests`, in words; none if no part does.
    pub fn unsafe_part(&self) -> Option<String> {
        if !Self::is_safe_method(&self.method) {
            return Some(format!("method {}", self.method));
        }
        let mut names = self.headers.iter().map(|(name, _)| name);
        let name = names.find(|name| Self::unsafe_header(name).is_some())?;
        Some(format!("header \"{name}\""))
    }
}

/// HTTP status codes from a first to a last one.
pub type CodeRange = RangeInclusive<u16>;

/// The result of one probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probed {
    /// How it ended.
    pub outcome: CheckOutcome,
    /// How long it took.
    pub latency: Duration,
    /// The answer of the service, or the reason why there is none, in one line.
    pub text: Box<str>,
}
