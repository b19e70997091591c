//! The meaning of a receiver's answer. Pure.
//!
//! | status | meaning |
//! |---|---|
//! | 2xx | taken |
//! | 410 | the receiver ends its deliveries: the webhook is removed |
//! | 400, 413, 415, 422 | it refuses this event; after `transport.refusals_max` times in a row a snapshot, which holds what the event said, takes the event's place |
//! | any other, redirects included | it can't take it now: tried again, never skipped |
//!
//! So a receiver that is misconfigured for a while (401, 404, a redirect) misses nothing. A snapshot contains
//! what it refused as an event.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::{model::Timestamp, transport::DeliveryError};

/// Reads the head of an answer that came at `now`.
pub(super) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<(), DeliveryError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        410 => Err(DeliveryError::Gone),
        status @ (400 | 413 | 415 | 422) => Err(DeliveryError::Refused(status)),
        status => Err(DeliveryError::Busy {
            status,
            wait: retry_after(headers, now),
        }),
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date in any of the three forms of section
/// 5.6.7. A number too large to hold is the longest wait; a date that is over is none.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    Some(date.saturating_sub(now))
}

#[cfg(test)]
mod tests;
