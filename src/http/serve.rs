//! Carries HTTP: listeners, connections, limits, timeouts, and what happens to every request around its
//! route. Knows no path and no service.

pub(in crate::http) mod connection;
pub(in crate::http) mod cors;
mod listener;
pub(in crate::http) mod metrics;
pub(in crate::http) mod pipeline;
mod stream;
mod watchdog;

pub use self::{
    cors::{Cors, CorsError},
    listener::{BindError, Bound, bind},
};
