//! The words every room shares: names, instances, checks, statuses, events, routes.
//!
//! Imports only `quantity` and never touches a socket or a clock.

mod check;
mod event;
mod filter;
mod flag;
mod instance;
mod metadata;
mod mode;
mod name;
mod patch;
mod revision;
mod route;
mod shown;
mod status;
mod time;

pub use self::{
    check::{
        Check, CheckKind, CheckOptions, CheckOutcome, CodeRange, HttpCheck, Probed, REDIRECTS_MAX,
    },
    event::{Event, EventKind},
    filter::InstanceFilter,
    flag::{FlagError, FlagState},
    instance::{
        Instance, InvalidRemoveAfter, LastSeen, Lease, LeaseKind, Override, Registration,
        RemoveAfter,
    },
    metadata::{Metadata, MetadataError},
    mode::{Channel, Mode, Modes},
    name::{CANARY, NameError, OUTBOUND_HEADER, RouteId, ServiceId, ServiceName},
    patch::{Edit, Patch},
    revision::{Cursor, Epoch, InvalidCursor, Revision},
    route::{Route, RouteDraft},
    shown::{ShownCheck, ShownChecks, Standing},
    status::{OverrideStatus, Status},
    time::{Span, Timestamp},
};
