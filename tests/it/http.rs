//! REST over a real port: what only sockets can show.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod journey;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stopping;
