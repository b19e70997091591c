//! TLS of the daemon as a user has it: its doors, client certificates, JWTs, and what it connects to.

mod certificates;
mod commands;
mod doors;
mod http2;
mod jwt;
mod outbound;
mod site;
