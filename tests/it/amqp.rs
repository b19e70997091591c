//! AMQP 0-9-1 as unmodified clients and raw sockets see it. Each journey runs against the broker that
//! `BROKER_UNDER_TEST` names: the embedded one when it is unset, `rabbitmq` for a node that the
//! run starts, or an `amqp://host:port`.

mod churn;
mod client;
mod clients;
mod codec;
mod crash;
mod faulty;
mod journeys;
mod kills;
mod login;
mod operation;
mod origin;
mod protocol;
mod reconnect;
mod restart;
mod robustness;
mod target;
mod text;
pub(crate) mod tls;
mod transcript;
mod values;
