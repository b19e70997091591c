//! An HTTP request and its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, EXPECT, LOCATION, TRANSFER_ENCODING, UPGRADE,
        USER_AGENT,
    },
};
use http_body_util::Full;

use super::{
    error::OutboundError,
    target::{ParsedUrl, resolved},
};
use crate::model::OUTBOUND_HEADER;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("musterd/", env!("CARGO_PKG_VERSION")));

/// Set on every request, whatever the caller's headers say.
const MARKER: HeaderName = HeaderName::from_static(OUTBOUND_HEADER);

/// The headers that follow a redirect to another host. Any other may be a secret for the first host, such as an API key.
const OF_ANY_HOST: [HeaderName; 3] = [ACCEPT, ACCEPT_LANGUAGE, USER_AGENT];

/// Headers that are derived from the body and can't be set.
const REFUSED: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT, UPGRADE];

/// An HTTP or HTTPS request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Any but `CONNECT`.
    pub method: Method,
    /// Absolute. `user:password@` becomes Basic credentials.
    pub url: Box<str>,
    /// Sent as they are; missing `Host`, `User-Agent` and `Accept` are added.
    pub headers: HeaderMap,
    /// May be empty.
    pub body: Bytes,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
}

impl Request {
    /// A request without headers or body, for a verified peer.
    pub fn new(method: Method, url: &str) -> Self {
        Self {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            tls_skip_verify: false,
        }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// The name or the value is not valid in a header.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), OutboundError> {
        let invalid = |why: &str| OutboundError::Invalid {
            what: name.chars().take(200).collect(),
            why: why.into(),
        };
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid("it is not the name of a header"))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| invalid("its value is not allowed in a header"))?;
        if REFUSED.contains(&header) {
            return Err(invalid(
                "this header follows from the body and can't be set",
            ));
        }
        self.headers.append(header, value);
        Ok(())
    }

    pub(super) fn message(
        &self,
        parsed: &ParsedUrl,
    ) -> Result<http::Request<Full<Bytes>>, OutboundError> {
        if self.method == Method::CONNECT {
            return Err(OutboundError::Invalid {
                what: "CONNECT".into(),
                why: "it asks for a tunnel".into(),
            });
        }
        let mut message = http::Request::new(Full::new(self.body.clone()));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() = parsed.path.clone();
        let headers = message.headers_mut();
        headers.clone_from(&self.headers);
        for refused in REFUSED {
            headers.remove(refused);
        }
        parsed.complete(headers);
        headers.insert(MARKER, HeaderValue::from_static("1"));
        headers.entry(USER_AGENT).or_insert(AGENT);
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        Ok(message)
    }

    /// The request that follows a redirect (RFC 9110, section 15.4); none when `answer` is no redirect
    /// or does not say where to.
    ///
    /// Any method but HEAD becomes GET where the code says so. Only Accept, Accept-Language and User-Agent are sent
    /// to another host, and credentials in the new URL are left out.
    pub fn redirected(&self, answer: &Response) -> Option<Self> {
        let keeps_method = match answer.status.as_u16() {
            301..=303 => false,
            307 | 308 => true,
            _ => return None,
        };
        let location = answer.headers.get(LOCATION)?.to_str().ok()?;
        let mut next = self.clone();
        next.url = resolved(&self.url, location).into();
        if !keeps_method && next.method != Method::HEAD {
            next.method = Method::GET;
            next.body = Bytes::new();
        }
        let origin = |url: &str| ParsedUrl::parse(url).map(|parsed| parsed.target).ok();
        if origin(&next.url) != origin(&self.url) {
            next.headers = OF_ANY_HOST
                .into_iter()
                .filter_map(|name| Some((name.clone(), self.headers.get(name)?.clone())))
                .collect();
        }
        Some(next)
    }
}

/// A response with any code: [`Request::redirected`] gives the request that follows a redirect.
#[derive(Clone, Debug)]
pub struct Response {
    /// The code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to the limit.
    pub body: Bytes,
    /// Whether the body was longer.
    pub truncated: bool,
    /// From the call to the end of the response.
    pub latency: Duration,
}

#[cfg(test)]
mod tests;
