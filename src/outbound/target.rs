//! The target of a URL, parsed once, so that the checked address is the one connected to.

use http::{HeaderValue, Uri, header::HOST};
use percent_encoding::percent_decode_str;

use super::error::OutboundError;

/// The longest URL.
const URL_BYTES_MAX: usize = 8 * 1024;

/// A host, a port, and whether TLS is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HostPort {
    /// A name, or an address without brackets.
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// The parts of an absolute URL.
#[derive(Clone, Debug)]
pub(super) struct ParsedUrl {
    pub(super) target: HostPort,
    /// The path and query as they are sent.
    pub(super) path: Uri,
    /// The value of the `Host` header.
    pub(super) authority: HeaderValue,
    /// The value of the `Authorization` header, from `user:password@`.
    pub(super) credentials: Option<HeaderValue>,
}

impl ParsedUrl {
    pub(super) fn parse(url: &str) -> Result<Self, OutboundError> {
        let invalid = |why: &str| OutboundError::Invalid {
            what: without_credentials(url).chars().take(200).collect(),
            why: why.into(),
        };
        if url.len() > URL_BYTES_MAX {
            return Err(invalid("it is longer than 8 KiB"));
        }
        let uri: Uri = url.parse().map_err(|_| invalid("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid("it must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it names no host"))?;
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("it names no host"));
        }
        let (user, shown) = match authority.as_str().rsplit_once('@') {
            Some((user, shown)) => (Some(user), shown),
            None => (None, authority.as_str()),
        };
        let behind_host = shown.get(authority.host().len()..).unwrap_or("");
        let port = match behind_host.strip_prefix(':') {
            None | Some("") if tls => 443,
            None | Some("") => 80,
            Some(text) => match text.parse() {
                Ok(0) | Err(_) => return Err(invalid("its port is not in 1-65535")),
                Ok(port) => port,
            },
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') {
            path.parse()
        } else {
            format!("/{path}").parse()
        };
        Ok(Self {
            target: HostPort {
                host: host.to_ascii_lowercase().into(),
                port,
                tls,
            },
            path: path.map_err(|_| invalid("its path is not valid"))?,
            authority: HeaderValue::from_str(shown)
                .map_err(|_| invalid("its host is not valid"))?,
            credentials: user.map(basic),
        })
    }

    /// Adds the headers that follow from the URL, unless the caller has set them.
    pub(super) fn complete(&self, headers: &mut http::HeaderMap) {
        headers
            .entry(HOST)
            .or_insert_with(|| self.authority.clone());
        if let Some(credentials) = &self.credentials {
            headers
                .entry(http::header::AUTHORIZATION)
                .or_insert_with(|| credentials.clone());
        }
    }
}

/// The URL that `location` means when `base` answered with it (RFC 3986, section 5.2), without a fragment and
/// without credentials. Dot segments stay: the server resolves them.
pub(super) fn resolved(base: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or("");
    let base = base.split('#').next().unwrap_or("");
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(path_at);
    let path = path_and_query.split('?').next().unwrap_or("");
    if let Some(rest) = location.strip_prefix("//") {
        return without_credentials(&format!("{scheme}://{rest}"));
    }
    if has_scheme(location) {
        return without_credentials(location);
    }
    let path = match location.as_bytes().first() {
        None => path_and_query.to_owned(),
        Some(b'/') => location.to_owned(),
        Some(b'?') => format!("{path}{location}"),
        Some(_) => {
            let folder = path.rfind('/').map_or("", |at| &path[..at]);
            format!("{folder}/{location}")
        }
    };
    format!("{scheme}://{authority}{path}")
}

/// True when `text` begins with a scheme and a colon (RFC 3986, section 3.1).
fn has_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

/// `url` without the part before "@", which may contain a password.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// The credentials of a URL for the Basic scheme (RFC 7617).
fn basic(user: &str) -> HeaderValue {
    let decoded: Vec<u8> = percent_decode_str(user).collect();
    let mut text = String::from("Basic ");
    base64(&decoded, &mut text);
    let mut value =
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// Appends `bytes` in base64 (RFC 4648, section 4).
fn base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three;
        let sextets = [
            a >> 2,
            (a & 3) << 4 | b >> 4,
            (b & 15) << 2 | c >> 6,
            c & 63,
        ];
        for (i, sextet) in sextets.into_iter().enumerate() {
            let padded = i > chunk.len();
            out.push(if padded {
                '='
            } else {
                char::from(ALPHABET[usize::from(sextet)])
            });
        }
    }
}

#[cfg(test)]
mod tests;
