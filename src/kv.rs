//! Keys and values for coordination: entries with indexes, sessions that hold locks, transactions, and user events. Knows
//! no HTTP and no AMQP, and judges no permission.
//!
//! `state` and `draft` are pure: time and limits are parameters. One task, the [`KvWriter`], decides requests in batches
//! on a draft, commits the rows of a batch, and only then shows it. Readers take a snapshot without a lock.

mod command;
mod deadlines;
mod draft;
mod entry;
mod marks;
mod operation;
mod refusal;
mod rows;
mod session;
mod state;
mod store;
mod user_events;
mod waits;
mod writer;

pub use self::{
    command::SessionOwner,
    entry::{KEY_BYTES_MAX, KvEntry, KvLimits, check_key},
    operation::{KvFound, KvOperation, KvUnmet, KvVerb, TransactionFault},
    refusal::KvRefusal,
    rows::{KvRow, KvRows, NoKvRows, StoredKv},
    session::{CheckedBy, KvSession, SessionBehavior, SessionDraft, TTL_MAX, TTL_MIN},
    state::{KvRead, KvState},
    store::KvStore,
    user_events::{
        EVENT_NAME_BYTES_MAX, EVENT_PAYLOAD_BYTES_MAX, UserEvent, UserEventDraft, UserEvents,
    },
    waits::{KvFollowing, KvTopic},
    writer::KvWriter,
};
