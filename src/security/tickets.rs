//! Tickets: single-use proofs for browsers, which can send no header with a stream.

use std::{collections::HashMap, time::Duration};

use super::{Principal, TokenDigest, TokenSecret};
use crate::model::Timestamp;

/// How a ticket begins.
const PREFIX: &str = "mtk_";
/// How long a ticket may be used.
pub(super) const TICKET_LASTS: Duration = Duration::from_secs(30);
/// More are not kept: the oldest ends first.
const TICKETS_MAX: usize = 10_000;

/// The tickets that can be used.
#[derive(Debug, Default)]
pub(super) struct Tickets(HashMap<u64, Ticket>);

#[derive(Debug)]
struct Ticket {
    digest: TokenDigest,
    principal: Principal,
    until: Timestamp,
}

impl Tickets {
    /// A new ticket of an identity.
    pub(super) fn issue(
        &mut self,
        principal: &Principal,
        now: Timestamp,
    ) -> Result<TokenSecret, getrandom::Error> {
        let secret = TokenSecret::begins_with(PREFIX)?;
        self.drop_ended(now);
        if self.0.len() >= TICKETS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, ticket)| ticket.until);
            if let Some(slot) = oldest.map(|(slot, _)| *slot) {
                self.0.remove(&slot);
            }
        }
        let digest = TokenDigest::of(secret.expose());
        let lasts = i64::try_from(TICKET_LASTS.as_millis()).unwrap_or(i64::MAX);
        let ticket = Ticket {
            digest,
            principal: principal.clone(),
            until: Timestamp(now.0.saturating_add(lasts)),
        };
        self.0.insert(digest.slot(), ticket);
        Ok(secret)
    }

    /// Uses a ticket up.
    pub(super) fn take(&mut self, secret: &str, now: Timestamp) -> Option<Principal> {
        let digest = TokenDigest::of(secret);
        let known = self.0.get(&digest.slot())?;
        if known.digest != digest {
            return None;
        }
        let ticket = self.0.remove(&digest.slot())?;
        (now < ticket.until).then_some(ticket.principal)
    }

    pub(super) fn drop_ended(&mut self, now: Timestamp) {
        self.0.retain(|_, ticket| now < ticket.until);
    }
}
