//! DNS: services, instances and addresses as records, over UDP and TCP. It only reads, and asks the catalog what its
//! clients may see. A query becomes a `subject`, a view of the registry becomes an answer in `zone`; both are pure.

mod alias;
mod cache;
mod config;
mod door;
mod escape;
mod forward;
mod index;
mod metrics;
mod name;
mod query;
mod record;
mod resolver;
mod response;
mod subject;
mod tcp;
mod udp;
mod zone;

pub use self::{
    config::{Config, RecordOrder},
    door::{DnsDoor, DnsError, DnsListener, DnsResponder, bind},
};

#[cfg(test)]
mod testing;
