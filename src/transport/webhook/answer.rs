//! What a receiver's answer means. Pure.
//!
//! | status | meaning |
//! |---|---|
//! | 2xx | taken |
//! | 410 | the receiver wants no more: the watcher is removed |
//! | 400, 413, 415, 422 | it refuses this event; after `transport.refusals_max` times in a row a snapshot, which holds what the event said, takes the event's place |
//! | any other, redirects among them | it can't take it now: tried again, never skipped |
//!
//! A receiver that is misconfigured for a while (401, 404, a redirect) so keeps its place. Nothing is
//! ever dropped without a word: what a receiver can't have as an event it gets within a snapshot.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::transport::DeliveryError;

/// Reads the head of an answer.
pub(super) fn verdict(status: StatusCode, headers: &HeaderMap) -> Result<(), DeliveryError> {
    match status.as_u16() {
        200..=299 => Ok(()),
        410 => Err(DeliveryError::Gone),
        status @ (400 | 413 | 415 | 422) => Err(DeliveryError::Refused(status)),
        status => Err(DeliveryError::Busy {
            status,
            wait: retry_after(headers),
        }),
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); its form as a date is not heeded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests;
