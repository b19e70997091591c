//! The words every room shares: names, instances, checks, statuses, events, routes.
//!
//! Imports nothing from this crate and never touches a socket or a clock.

mod check;
mod event;
mod instance;
mod metadata;
mod name;
mod revision;
mod route;
mod status;
mod time;

/// The name of a service that is the daemon's own: instances by which it tries itself out. They are
/// registered like any other and counted in no summary.
pub const CANARY: &str = "musterd-canary";

pub use self::{
    check::{Check, CheckKind, CodeRange, HttpCheck},
    event::{Event, EventKind},
    instance::{Beat, Instance, Lease, Override, Registration},
    metadata::{Metadata, MetadataError},
    name::{NameError, RouteId, ServiceId, ServiceName},
    revision::{Cursor, Epoch, InvalidCursor, Revision},
    route::Route,
    status::{OverrideStatus, Status},
    time::{InvalidSpan, Span, Timestamp},
};
