//! The embedded broker alone, on the address given as its only argument.

use std::error::Error;

use musterd::broker::{Broker, Config};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = address;
    }
    let listening = Broker::bind(config).await?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    let wait = async {
        // Without signals there is nothing to wait for.
        let _signal = tokio::signal::ctrl_c().await;
        on_signal.cancel();
    };
    tokio::join!(listening.serve(stop), wait);
    Ok(())
}
