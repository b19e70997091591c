//! musterd: a service registry with a message broker inside it.
//!
//! As a library: [`app::App`] is the whole daemon, with callbacks in the same process;
//! [`broker::Broker`] is the AMQP broker alone (see `examples/broker.rs`).
//!
//! ```
//! use musterd::{
//!     app::App,
//!     config::Config,
//!     transport::{CallbackError, Delivery, Filter, Start},
//! };
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.http.listen = "127.0.0.1:0".to_owned();
//! config.broker.listen = String::new();
//! let app = App::start(config).await?;
//! let print = |delivery: Delivery| {
//!     if let Delivery::Event(event) = &delivery {
//!         println!("{} at revision {}", event.kind, event.revision);
//!     }
//!     std::future::ready(Ok::<_, CallbackError>(()))
//! };
//! let subscription = app.subscribe(Filter::default(), Start::Newest, print)?;
//! app.run_until(std::future::ready(())).await?;
//! drop(subscription);
//! # Ok(())
//! # }
//! # tokio::runtime::Runtime::new()?.block_on(run())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// In reading order: the vocabulary first, the wiring last.
pub mod disk;
pub mod failures;
pub mod model;
pub mod quantity;
pub mod tls;

pub mod kv;
pub mod registry;
pub mod security;

pub mod api;
pub mod catalog;
pub mod gateway;

pub mod health;
pub mod outbound;
pub mod transport;

pub mod migration;

pub mod dns;
pub mod http;
pub mod monitor;

pub mod broker;

pub mod store;
pub mod tasks;
pub mod telemetry;

pub mod config;

pub mod app;

pub mod cli;
