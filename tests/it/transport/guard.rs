//! The guard, provoked for real: a daemon over a real broker, traffic, and something that goes wrong.

mod blocked;
mod canary;
mod discovery;
mod host;
mod latency;
mod lost;
mod scene;
