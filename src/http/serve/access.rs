//! Which requests reach their routes. It depends on the name they use for the server (RFC 9110, section 7.4)
//! and on the web page that sends them (RFC 6455, section 10.2; Fetch, Sec-Fetch-Site).
//!
//! A page may send simple requests and open WebSockets to a server on loopback without asking. If its own
//! name resolves to that address (DNS rebinding), it may send all requests.

use axum::{
    body::HttpBody,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header},
};

use super::{
    authority::Authority,
    cors::{Cors, CorsError, CorsPolicy},
};
use crate::{http::answer::HttpProblem, model::OUTBOUND_HEADER};

const OUTBOUND: HeaderName = HeaderName::from_static(OUTBOUND_HEADER);
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The most characters of a header that an error quotes.
const QUOTED_MAX: usize = 200;

/// Why the rules of `http.hosts` and `http.cors` can't be followed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Not the name of a host.
    #[error(
        "http.hosts: \"{0}\" is not a host name such as \"registry.example.com\", without a port"
    )]
    Host(String),
    /// The rules for pages of other origins.
    #[error(transparent)]
    Cors(#[from] CorsError),
}

/// The rules; replaced as a whole by a reload.
#[derive(Debug)]
pub(in crate::http) struct AccessPolicy {
    /// None when every name is accepted.
    names: Option<Box<[Box<str>]>>,
    pub(super) cors: CorsPolicy,
}

impl AccessPolicy {
    /// Names that the server answers to, besides addresses and localhost, and what other origins may do.
    pub(in crate::http) fn new(hosts: &[String], cors: &Cors) -> Result<Self, AccessError> {
        let mut names = Vec::new();
        for host in hosts.iter().filter(|host| *host != "*") {
            match Authority::parse(host) {
                Some(name) if !host.contains([':', '*']) => names.push(name.host.into()),
                _ => return Err(AccessError::Host(host.clone())),
            }
        }
        let any = hosts.iter().any(|host| host == "*");
        Ok(Self {
            names: (!any).then(|| names.into()),
            cors: CorsPolicy::new(cors)?,
        })
    }

    /// Judges a request in front of its route.
    ///
    /// # Errors
    /// The status of a refusal:
    /// - 400: the Host header is missing, repeated or invalid (RFC 9112, section 3.2);
    /// - 421: it is not a name of this server;
    /// - 403: a change or a WebSocket from an origin that is not listed;
    /// - 415: a page sends a body that is not JSON;
    /// - 508: a change by a check or webhook of a daemon.
    pub(super) fn judge<B: HttpBody>(&self, request: &Request<B>) -> Result<(), HttpProblem> {
        let judged = JudgedHeaders::of(request.headers());
        let authority = authority(request, &judged)?;
        if let Some(authority) = authority.filter(|authority| !self.answers_to(authority)) {
            return Err(misdirected(authority.host));
        }
        if judged.is_outbound && changes(request) {
            return Err(looped());
        }
        let (headers, site) = (request.headers(), judged.site);
        if !judged.has_origin && site.is_none() {
            return Ok(());
        }
        if changes(request) {
            let origin = origin(headers)?;
            let is_listed = origin.is_some_and(|origin| self.cors.lists(origin));
            let is_own = origin.is_none_or(|origin| is_own(origin, authority));
            let is_cross_site = site.is_some_and(|site| site == "cross-site");
            if !is_listed && (!is_own || is_cross_site) {
                return Err(foreign(origin));
            }
        }
        if !request.body().is_end_stream() && !is_json(headers) {
            return Err(HttpProblem::new(
                415,
                "the body of a web page's request must have the content type application/json",
            ));
        }
        Ok(())
    }

    fn answers_to(&self, authority: &Authority<'_>) -> bool {
        // Rebinding needs a name: an address is always the right one.
        if authority.is_address || is_localhost(authority.host) {
            return true;
        }
        let Some(names) = &self.names else {
            return true;
        };
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(authority.host))
    }
}

/// The headers that decide about most requests, found in one pass: a look-up of each would cost more.
#[derive(Debug, Default)]
struct JudgedHeaders<'a> {
    host: Option<&'a HeaderValue>,
    has_second_host: bool,
    is_outbound: bool,
    has_origin: bool,
    /// The first Sec-Fetch-Site.
    site: Option<&'a HeaderValue>,
}

impl<'a> JudgedHeaders<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == header::HOST {
                found.has_second_host = found.host.is_some();
                found.host = Some(value);
            } else if *name == header::ORIGIN {
                found.has_origin = true;
            } else if *name == SEC_FETCH_SITE {
                found.site = found.site.or(Some(value));
            } else if *name == OUTBOUND {
                found.is_outbound = true;
            }
        }
        found
    }
}

/// Every fault of `http.hosts` and `http.cors`.
pub(in crate::http) fn faults(hosts: &[String], cors: &Cors) -> Vec<String> {
    let of_hosts = hosts.iter().filter_map(|host| {
        let alone = std::slice::from_ref(host);
        AccessPolicy::new(alone, &Cors::default()).err()
    });
    let of_cors = cors.faults().into_iter().map(AccessError::from);
    of_hosts
        .chain(of_cors)
        .map(|fault| fault.to_string())
        .collect()
}

fn is_localhost(name: &str) -> bool {
    const DOMAIN: &str = ".localhost";
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let start = name.len().checked_sub(DOMAIN.len());
    let end = start.and_then(|start| name.get(start..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(DOMAIN))
}

/// The authority that a request names: that of an absolute target, or its Host (RFC 9112, section 3.3).
fn authority<'a, B>(
    request: &'a Request<B>,
    judged: &JudgedHeaders<'a>,
) -> Result<Option<Authority<'a>>, HttpProblem> {
    let host = judged.host;
    let target = request.uri().authority();
    let is_optional = request.version() != Version::HTTP_11;
    if judged.has_second_host || (host.is_none() && !is_optional) {
        return Err(bad_host("exactly one Host header is required"));
    }
    let host = match host {
        None => None,
        Some(host) => {
            let read = host.to_str().ok().and_then(Authority::parse);
            Some(read.ok_or_else(|| bad_host("the Host header is not a host and a port"))?)
        }
    };
    match target {
        None => Ok(host),
        Some(target) => Authority::parse(target.as_str())
            .map(Some)
            .ok_or_else(|| bad_host("the target's authority is not a host and a port")),
    }
}

fn bad_host(detail: &str) -> HttpProblem {
    HttpProblem::new(400, format!("{detail} (RFC 9112, section 3.2)"))
}

fn misdirected(host: &str) -> HttpProblem {
    let host = quoted(host);
    HttpProblem::new(
        421,
        format!(
            "{host} is not a name of this server: ask it by its address or as localhost, or add the name \
             to http.hosts"
        ),
    )
}

/// Checks and webhooks that change a registry, or ask it for probes, could cause more of themselves.
fn looped() -> HttpProblem {
    HttpProblem::new(
        508,
        "a request that a check or webhook of musterd sends may only read here",
    )
}

fn foreign(origin: Option<&str>) -> HttpProblem {
    let from = match origin {
        Some(origin) => format!("pages of {}", quoted(origin)),
        None => "pages of other sites".to_owned(),
    };
    let rule =
        "may not change anything here or open WebSockets: add the origin to http.cors.origins";
    HttpProblem::new(403, format!("{from} {rule}"))
}

fn quoted(text: &str) -> String {
    let text: String = text.chars().take(QUOTED_MAX).collect();
    format!("\"{}\"", text.escape_debug())
}

/// The Origin, of which there is one at most.
fn origin(headers: &HeaderMap) -> Result<Option<&str>, HttpProblem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(None),
        (Some(origin), None) => match origin.to_str() {
            Ok(origin) => Ok(Some(origin)),
            Err(_) => Err(foreign(None)),
        },
        (Some(_), Some(_)) => Err(foreign(None)),
    }
}

/// True when a page of this origin comes from ourselves: its authority is the one that the request names.
fn is_own(origin: &str, asked: Option<Authority<'_>>) -> bool {
    let Some((scheme, own)) = origin.split_once("://") else {
        // "null" among others: a page in a sandbox, or a file.
        return false;
    };
    let default = match scheme {
        "https" => 443,
        _ => 80,
    };
    match (Authority::parse(own), asked) {
        (Some(own), Some(asked)) => own.is_same(&asked, default),
        _ => false,
    }
}

/// True for what pages of other origins may not do: all but reading, and WebSockets, which CORS leaves out.
fn changes<B>(request: &Request<B>) -> bool {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    !reads || request.headers().contains_key(header::UPGRADE)
}

/// `application/json` or `application/<anything>+json`, which no form can send without a preflight.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = only.to_str().unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

#[cfg(test)]
mod tests;
