use musterd::http::Config;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

use super::server::{PATIENCE, Server};

#[tokio::test]
async fn at_a_stop_requests_finish_and_new_connections_are_refused() {
    let server = Server::start(Config::default()).await;
    server.fill("a", 1, 1);
    let (address, stop) = (server.address, server.stop.clone());
    let mut idle = server.connect().await;
    idle.write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    idle.answer().await;
    let mut halfway = server.connect().await;
    halfway.write("GET /health HTTP/1.1\r\nx:").await;
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.write("POST /services/a-0/check HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    // Its answer takes a while; another one shows that the server has begun with it.
    let mut other = server.connect().await;
    other
        .write("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await;
    other.answer().await;

    let began = Instant::now();
    stop.cancel();
    let mut stopping = JoinSet::new();
    stopping.spawn(server.stopped());
    let (head, _) = busy.answer().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for raw in [&mut idle, &mut halfway, &mut silent, &mut busy] {
        assert_eq!(raw.rest().await, "");
    }
    stopping.join_next().await.unwrap().unwrap();
    assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the port is free"
    );
}
