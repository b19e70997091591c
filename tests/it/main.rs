//! One integration binary: fast to link, easy to share a harness.

mod architecture;
mod daemon;
mod http;
