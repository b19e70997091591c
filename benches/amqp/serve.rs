//! The child: the embedded broker and nothing else.

use std::process::ExitCode;

use musterd::broker::{Broker, Config};
use musterd::config::{Threads, cores};
use tokio_util::sync::CancellationToken;

use crate::process::resident;

/// Serves until the parent ends it; prints the address and what the broker added to resident memory.
pub(crate) fn serve(listen: String) -> ExitCode {
    let (threads, cores) = (Threads::default(), cores());
    // As many as it has inside the daemon.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.other(cores, threads.http(cores)))
        .enable_all()
        .build()
        .expect("a runtime");
    // Whatever the runtime needs to run anything at all is not the broker's.
    runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(10)).await });
    let before = resident("self");
    let config = Config {
        listen,
        ..Config::default()
    };
    let listening = match runtime.block_on(Broker::bind(config)) {
        Ok(listening) => listening,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let address = listening.address().expect("a broker that listens");
    let serving = runtime.spawn(listening.serve(CancellationToken::new()));
    std::thread::sleep(std::time::Duration::from_millis(200));
    println!("{address} {}", resident("self") - before);
    // A parent that is gone has closed this end of the pipe.
    let mut nothing = String::new();
    let _ended = std::io::stdin().read_line(&mut nothing);
    serving.abort();
    ExitCode::SUCCESS
}
