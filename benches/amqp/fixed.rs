//! A child that is no broker: it answers every method with octets made in advance and hands each publish to
//! the last consumer that came. What it takes is what sockets, wake-ups and the load generator take, so
//! no broker on this machine can be better by this generator.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::link::method;

/// The client that asked for messages last.
type Consumer = Arc<Mutex<Option<Arc<TcpStream>>>>;

/// Serves until the parent ends it; prints the address.
pub(crate) fn serve(listen: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind(listen))
        .expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    println!("{address} 0");
    runtime.spawn(async move {
        let (consumer, tasks) = (Consumer::default(), TaskTracker::new());
        while let Ok((socket, _)) = listener.accept().await {
            let consumer = Arc::clone(&consumer);
            // A client that breaks off ends its own task.
            tasks.spawn(async move { drop(converse(socket, consumer).await) });
        }
    });
    let mut nothing = String::new();
    let _ended = io::stdin().read_line(&mut nothing);
    ExitCode::SUCCESS
}

async fn converse(socket: TcpStream, consumer: Consumer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = Arc::new(socket);
    let (mut input, mut out, mut at) = (vec![0; 1 << 18], Vec::new(), 0);
    loop {
        socket.readable().await?;
        match socket.try_read(&mut input[at..]) {
            Ok(0) => return Ok(()),
            Ok(read) => at += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let used = answer(&input[..at], &mut out, &socket, &consumer);
        input.copy_within(used..at, 0);
        at -= used;
        if !out.is_empty() {
            socket.try_write(&out)?;
            out.clear();
        }
    }
}

/// Answers whatever is all there; how much that was.
fn answer(input: &[u8], out: &mut Vec<u8>, socket: &Arc<TcpStream>, consumer: &Consumer) -> usize {
    let mut at = 0;
    if input.starts_with(b"AMQP") {
        method(out, 0, 10, 10, |out| {
            out.extend_from_slice(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 5]);
            out.extend_from_slice(b"PLAIN\0\0\0\x05en_US");
        });
        at = 8;
    }
    let mut relayed = Vec::new();
    while let Some(head) = input.get(at..at + 7) {
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let next = at + 8 + usize::try_from(size).expect("a small frame");
        let Some(frame) = input.get(at..next) else {
            break;
        };
        at = next;
        if frame[0] != 1 {
            relayed.extend_from_slice(frame);
            continue;
        }
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let (class, id) = (
            u16::from_be_bytes([frame[7], frame[8]]),
            u16::from_be_bytes([frame[9], frame[10]]),
        );
        let nothing = |_: &mut Vec<u8>| {};
        match (class, id) {
            (60, 40) => method(&mut relayed, 1, 60, 60, |out| {
                out.extend_from_slice(b"\x01c\0\0\0\0\0\0\0\x01\0\0\x01q");
            }),
            (10, 11) => method(out, 0, 10, 30, |out| {
                out.extend_from_slice(&[7, 0xFF, 0, 2, 0, 0, 0, 0]);
            }),
            (10, 31) => {}
            (10, 40) => method(out, 0, 10, 41, |out| out.push(0)),
            (20, 10) => method(out, channel, 20, 11, |out| out.extend_from_slice(&[0; 4])),
            (50, 10) => method(out, channel, 50, 11, |out| out.extend_from_slice(&[0; 9])),
            (50, 40) => method(out, channel, 50, 41, |out| out.extend_from_slice(&[0; 4])),
            (60, 20) => {
                *consumer.lock() = Some(Arc::clone(socket));
                method(out, channel, 60, 21, |out| out.extend_from_slice(b"\x01c"));
            }
            _ => method(out, channel, class, id + 1, nothing),
        }
    }
    if !relayed.is_empty()
        && let Some(consumer) = &*consumer.lock()
    {
        let _full = consumer.try_write(&relayed);
    }
    at
}
