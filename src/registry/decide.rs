//! The registry's rules: a command on a draft, records out. Pure: no lock, no clock, no task.

mod connection;
mod expiry;
mod register;
mod route;
mod status;

use super::Refusal;
use crate::model::Instance;

pub(super) use self::expiry::{Report, Turn};

/// The most decisions of one command about many instances, so that other commands get their turn.
pub(super) const DECISIONS_MAX: usize = 64;

/// Refuses a caller that names another incarnation than the current one.
pub(super) fn is_current(known: &Instance, incarnation: Option<u64>) -> Result<(), Refusal> {
    match incarnation {
        Some(given) if given != known.incarnation => Err(Refusal::Conflict {
            current: known.incarnation,
        }),
        _ => Ok(()),
    }
}
