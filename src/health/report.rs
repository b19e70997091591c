//! Outcomes of probes.

pub use crate::model::CheckOutcome as Outcome;
